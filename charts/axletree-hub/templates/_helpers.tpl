{{- define "axletree.labels" -}}
app.kubernetes.io/name: axletree-hub
app.kubernetes.io/part-of: axletree
{{- end }}

{{- define "axletree.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* What controller and gateway have in common: a Pod's settings but for its containers. */}}
{{- define "axletree.pod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  # Workers' folders, and keys for the moment in which they are read: in memory, not on the node's disk.
  - name: tmp
    emptyDir:
      medium: Memory
      sizeLimit: 512Mi
{{- end }}

{{- /* "true" where bundles are in a database or an object store: then gateways need no volume. */}}
{{- define "axletree.shared" -}}
{{- if or .Values.bundles.url .Values.bundles.urlSecret }}true{{ end }}
{{- end }}

{{- /* Beside the controller, whose node has the volume: the scheduler does not know that it can be on one alone. */}}
{{- define "axletree.together" -}}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            app.kubernetes.io/name: axletree-hub
            app.kubernetes.io/component: controller
{{- end }}

{{- define "axletree.volume" -}}
- name: data
  {{- if .Values.data.enabled }}
  persistentVolumeClaim:
    claimName: {{ .Values.data.existingClaim | default "axletree-hub" | quote }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.data.size }}
  {{- end }}
{{- end }}

{{- /* Of a container, but for its arguments and resources. */}}
{{- define "axletree.container" -}}
image: {{ include "axletree.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [axle-hub]
env:
  - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  - {name: HOME, value: /tmp}
  {{- with .Values.history.databaseSecret }}
  - {name: AXLETREE_DATABASE, valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: url}}}
  {{- end }}
  {{- if .Values.bundles.urlSecret }}
  - {name: AXLETREE_BUNDLES, valueFrom: {secretKeyRef: {name: {{ .Values.bundles.urlSecret | quote }}, key: url}}}
  {{- else if .Values.bundles.url }}
  - {name: AXLETREE_BUNDLES, value: {{ .Values.bundles.url | quote }}}
  {{- end }}
  {{- with .Values.proxy.https }}
  - {name: HTTPS_PROXY, value: {{ . | quote }}}
  {{- end }}
  {{- with .Values.proxy.http }}
  - {name: HTTP_PROXY, value: {{ . | quote }}}
  {{- end }}
  {{- if and .Values.proxy.noProxy (or .Values.proxy.https .Values.proxy.http) }}
  - {name: NO_PROXY, value: {{ .Values.proxy.noProxy | quote }}}
  {{- end }}
{{- if or .Values.bundles.credentialsSecret .Values.proxy.secret }}
envFrom:
  {{- range compact (list .Values.bundles.credentialsSecret .Values.proxy.secret) }}
  - secretRef: {name: {{ . | quote }}}
  {{- end }}
{{- end }}
ports:
  - {name: agents, containerPort: 8443}
  {{- if .Values.api.enabled }}
  - {name: api, containerPort: 8444}
  {{- end }}
  {{- if .Values.metrics.enabled }}
  - {name: metrics, containerPort: 9090}
  {{- end }}
# The gateway answers this one with whatever it knows: only a process that hangs is started anew.
livenessProbe:
  httpGet: {path: /agent/v1/ca, port: agents, scheme: HTTPS}
  periodSeconds: 20
  timeoutSeconds: 5
  failureThreshold: 6
# Whole caches, which an API server that is away does not give.
readinessProbe:
  httpGet: {path: /healthz, port: agents, scheme: HTTPS}
  periodSeconds: 5
  timeoutSeconds: 5
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  readOnlyRootFilesystem: true
volumeMounts:
  - {name: data, mountPath: /var/lib/axletree}
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- /* Which Pods serve the API: the controller's, or those of its own. */}}
{{- define "axletree.apiComponent" -}}
{{ ternary "api" "controller" (gt (int .Values.api.replicas) 0) }}
{{- end }}

{{- define "axletree.apiArgs" -}}
- --api-port=8444
- --public-host=axletree-api.axletree-system.svc
{{- end }}

{{- define "axletree.args" -}}
- --data-dir=/var/lib/axletree
- --host=0.0.0.0
- --port=8443
- --public-host=$(POD_IP)
{{- range .Values.hosts }}
- {{ printf "--public-host=%s" . | quote }}
{{- end }}
- --public-host=axletree-gateway.axletree-system.svc
- --gateway-name=$(POD_NAME)
- --stale-after={{ .Values.staleAfter }}
- --log-level={{ .Values.logLevel }}
- --log-format={{ .Values.logFormat }}
{{- if not .Values.events.enabled }}
- --no-events
{{- end }}
{{- if .Values.metrics.enabled }}
- --metrics-port=9090
{{- end }}
{{- end }}
