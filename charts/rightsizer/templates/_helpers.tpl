{{- define "rightsizer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "rightsizer.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "rightsizer.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "rightsizer.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "rightsizer.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "rightsizer.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "rightsizer.selector" -}}
app.kubernetes.io/name: {{ include "rightsizer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "rightsizer.labels" -}}
{{ include "rightsizer.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* (dict "image" <image value> "root" $): repository@digest, or repository:tag. */}}
{{- define "rightsizer.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "rightsizer.profile" -}}
image: {{ include "rightsizer.image" (dict "image" .profile.image "root" .root) | quote }}
imagePullPolicy: {{ .profile.image.pullPolicy }}
{{- range $key := list "command" "nodeSelector" "tolerations" "volumes" "volumeMounts" "env" "resources" "priorityClassName" }}
{{- with index $.profile $key }}
{{ $key }}: {{ toJson . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "rightsizer.leaseName" -}}
{{- .Values.settings.leaseName | default (include "rightsizer.fullname" .) -}}
{{- end -}}

{{- define "rightsizer.config" -}}
trial:
  {{- include "rightsizer.profile" (dict "profile" .Values.jobs.trial "root" .) | nindent 2 }}
compress:
  {{- include "rightsizer.profile" (dict "profile" .Values.jobs.compress "root" .) | nindent 2 }}
prices: {{ toJson .Values.prices }}
gpus: {{ toJson .Values.gpus }}
engineImages: {{ toJson .Values.engineImages }}
{{- with .Values.prometheus }}
{{- if .url }}
prometheus:
  url: {{ .url | quote }}
  {{- if .bearerToken.secretName }}
  bearerTokenFile: /etc/rightsizer-prometheus/token
  {{- end }}
  {{- if .ca.configMapName }}
  caFile: /etc/rightsizer-prometheus/ca.crt
  {{- end }}
  namespaceLabel: {{ .namespaceLabel | quote }}
  podLabel: {{ .podLabel | quote }}
  timeoutS: {{ .timeoutS }}
  everyS: {{ .everyS }}
{{- end }}
{{- end }}
namespaces: {{ toJson .Values.watchNamespaces }}
readOnly: {{ .Values.readOnly }}
leaseName: {{ include "rightsizer.leaseName" . }}
{{- range $key, $value := omit .Values.settings "leaseName" }}
{{ $key }}: {{ toJson $value }}
{{- end }}
{{- end -}}

{{/* Files for the connection to Prometheus, as sources of a projected volume; empty: there are none. */}}
{{- define "rightsizer.prometheusFiles" -}}
{{- with .Values.prometheus }}
{{- if and .url .bearerToken.secretName }}
- secret: {name: {{ .bearerToken.secretName }}, items: [{key: {{ .bearerToken.key }}, path: token}]}
{{- end }}
{{- if and .url .ca.configMapName }}
- configMap: {name: {{ .ca.configMapName }}, items: [{key: {{ .ca.key }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- end -}}
