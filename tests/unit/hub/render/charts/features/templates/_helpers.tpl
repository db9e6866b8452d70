{{- define "features.name" -}}{{ .Release.Name }}-{{ .Chart.Name }}{{- end -}}
{{- define "features.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
