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
{{- end -}}
