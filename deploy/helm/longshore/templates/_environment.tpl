{{/* The settings that every command takes: values as they are, secrets by the names of what holds them. */}}
{{- define "longshore.environment" -}}
{{- include "longshore.variable" (list "LONGSHORE_EXTERNAL_URL" .Values.externalUrl) -}}
{{- include "longshore.variable" (list "LONGSHORE_SHUTDOWN_TIMEOUT" .Values.shutdownSeconds) -}}
{{- include "longshore.variable" (list "LONGSHORE_LOG_FORMAT" "json") -}}
{{- include "longshore.variable" (list "LONGSHORE_TRUSTED_PROXIES" (join "," .Values.trustedProxies)) -}}
{{- with .Values.storage -}}
{{- if .url -}}
{{- include "longshore.variable" (list "LONGSHORE_STORAGE" .url) -}}
{{- include "longshore.variable" (list "LONGSHORE_S3_ENDPOINT" .endpoint) -}}
{{- include "longshore.variable" (list "LONGSHORE_S3_REGION" .region) -}}
{{- include "longshore.variable" (list "LONGSHORE_S3_PATH_STYLE" .pathStyle) -}}
{{- include "longshore.variable" (list "LONGSHORE_S3_REDIRECT" .redirect) -}}
{{- include "longshore.variable" (list "LONGSHORE_S3_PUBLIC_ENDPOINT" .publicEndpoint) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- include "longshore.variable" (list $name $value) -}}
{{- end -}}
{{- with .Values.secrets -}}
{{- include "longshore.secret" (list "LONGSHORE_DATABASE" .database.name .database.key) -}}
{{- include "longshore.secret" (list "AWS_ACCESS_KEY_ID" .s3.name .s3.accessKeyId) -}}
{{- include "longshore.secret" (list "AWS_SECRET_ACCESS_KEY" .s3.name .s3.secretAccessKey) -}}
{{- end -}}
{{- end -}}

{{/* What nodes take besides. */}}
{{- define "longshore.nodeSecrets" -}}
{{- with .Values.secrets -}}
{{- include "longshore.secret" (list "LONGSHORE_KEYS_SECRET" .keys.name .keys.key) -}}
{{- include "longshore.secret" (list "LONGSHORE_ADMIN_PASSWORD" .adminPassword.name .adminPassword.key) -}}
{{- include "longshore.secret" (list "LONGSHORE_METRICS_TOKEN" .metricsToken.name .metricsToken.key) -}}
{{- end -}}
{{- end -}}

{{/* A name and a value; nothing where there is none. A number is written out: Helm reads 8388608 as 8.388608e+06. */}}
{{- define "longshore.variable" -}}
{{- $value := last . -}}
{{- if kindIs "float64" $value -}}
{{- $value = int64 $value -}}
{{- end -}}
{{- if ne (toString $value) "" }}
- name: {{ first . }}
  value: {{ toString $value | quote }}
{{- end -}}
{{- end -}}

{{/* A name, a Secret and the key in it; nothing where no Secret is named. */}}
{{- define "longshore.secret" -}}
{{- if index . 1 }}
- name: {{ first . }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ last . }}
{{- end -}}
{{- end -}}
