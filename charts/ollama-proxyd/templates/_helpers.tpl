{{- define "ollama-proxyd.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "ollama-proxyd.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ollama-proxyd.labels" -}}
{{ include "ollama-proxyd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "ollama-proxyd.account" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "ollama-proxyd.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "ollama-proxyd.secret" -}}
{{- .Values.auth.existingSecret | default (include "ollama-proxyd.name" .) }}
{{- end }}

{{- /* An Ollama runs in the pod unless another is named. */ -}}
{{- define "ollama-proxyd.hasOllama" -}}
{{- if and .Values.ollama.enabled (not .Values.ollamaUrl) }}yes{{ end }}
{{- end }}

{{- define "ollama-proxyd.hosts" -}}
{{- $name := include "ollama-proxyd.name" . -}}
{{- $hosts := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- if .Values.ingress.enabled }}{{ range .Values.ingress.hosts }}{{ $hosts = append $hosts .host }}{{ end }}{{ end -}}
{{- toYaml $hosts }}
{{- end }}
