{{- define "longshore.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "longshore.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "longshore.labels" -}}
{{ include "longshore.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "longshore.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "longshore.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "longshore.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Pods of backups: no Service, budget or policy of the nodes finds them by these. */}}
{{- define "longshore.backupSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-backup
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* A CronJob's name leaves room for what is added to that of each job. */}}
{{- define "longshore.backupName" -}}
{{- printf "%s-backup" (include "longshore.fullname" . | trunc 45 | trimSuffix "-") -}}
{{- end -}}

{{- define "longshore.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "longshore.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Name servers, and what the values say. */}}
{{- define "longshore.egress" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- with .Values.networkPolicy.egress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "longshore.claim" -}}
{{- .Values.persistence.existingClaim | default (include "longshore.fullname" .) -}}
{{- end -}}

{{/* What is wrong with the values as a whole; a schema cannot say it in words. */}}
{{- define "longshore.check" -}}
{{- $team := and .Values.storage.url .Values.secrets.database.name -}}
{{- if and .Values.persistence.enabled (or .Values.storage.url .Values.secrets.database.name) -}}
{{- fail "persistence is for one node without S3 and PostgreSQL: turn it off, or leave storage.url and secrets.database.name empty" -}}
{{- end -}}
{{- if not (or .Values.persistence.enabled $team) -}}
{{- fail "set storage.url and secrets.database.name, or persistence.enabled for a single node" -}}
{{- end -}}
{{- if and $team (not .Values.secrets.keys.name) -}}
{{- fail "set secrets.keys.name: nodes share their signing keys through the database, encrypted with that secret" -}}
{{- end -}}
{{- if and .Values.persistence.enabled (or .Values.autoscaling.enabled (gt (int .Values.replicas) 1)) -}}
{{- fail "persistence is for a single node: set replicas to 1 and autoscaling.enabled to false" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.secrets.metricsToken.name) -}}
{{- fail "set secrets.metricsToken.name: without a token Prometheus may not read /metrics" -}}
{{- end -}}
{{- with .Values.backup -}}
{{- $inDirectory := hasPrefix "/" .destination -}}
{{- if and .enabled (not .destination) -}}
{{- fail "set backup.destination: s3://bucket/prefix, or /backup with backup.existingClaim" -}}
{{- end -}}
{{- if and .enabled (ne $inDirectory (not (empty .existingClaim))) -}}
{{- fail "backup.destination is in /backup if and only if backup.existingClaim names the volume for it" -}}
{{- end -}}
{{- if and .enabled (eq (trimSuffix "/" .destination) (trimSuffix "/" $.Values.storage.url)) -}}
{{- fail "backup.destination is the storage itself: name another place" -}}
{{- end -}}
{{- if and .enabled $.Values.persistence.enabled (eq $.Values.persistence.accessMode "ReadWriteOncePod") -}}
{{- fail "a backup needs the node's volume beside the node: set persistence.accessMode to ReadWriteOnce" -}}
{{- end -}}
{{- end -}}
{{- end -}}
