{{- define "axletree.labels" -}}
app.kubernetes.io/name: axletree-agent
app.kubernetes.io/part-of: axletree
{{- end }}

{{- /* What the agent reads when it starts: JSON, so that it needs no YAML. */}}
{{- define "axletree.config" -}}
{{- $config := dict "cluster" .Values.cluster "hubUrl" (trimSuffix "/" .Values.hubUrl) "tokenFile" "/etc/axletree/join/token" }}
{{- if or .Values.join.ca .Values.join.existing }}
{{- $_ := set $config "caFile" "/etc/axletree/join/ca.crt" }}
{{- end }}
{{- toJson $config }}
{{- end }}

{{- /* The namespaces of all projects, each once, as a JSON list. */}}
{{- define "axletree.tenants" -}}
{{- $all := list }}
{{- range .Values.projects }}
{{- $all = concat $all (.namespaces | default list) }}
{{- end }}
{{- $all | uniq | sortAlpha | toJson }}
{{- end }}

{{- /* "true" where some project's account is bound to no namespace in particular. */}}
{{- define "axletree.everywhere" -}}
{{- range .Values.projects }}{{ if not .namespaces }}true{{ end }}{{ end }}
{{- end }}
