{{/* The release's name, with the chart's unless it has it: what every object's name begins with, so that it has to be
the name of a Service, with room for what follows: no dots, a letter first. A long one ends with what tells it apart. */}}
{{- define "kaas.fullname" -}}
{{- $name := .Release.Name | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $name -}}
{{- $name = printf "%s-%s" .Chart.Name $name -}}
{{- else if not (contains .Chart.Name $name) -}}
{{- $name = printf "%s-%s" $name .Chart.Name -}}
{{- end -}}
{{- if gt (len $name) 40 -}}
{{- $name = printf "%s-%s" ($name | trunc 31) (sha256sum .Release.Name | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* What selects pods; (dict "root" $ "component" "pool"). */}}
{{- define "kaas.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "kaas.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | quote }}
{{ include "kaas.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/* Of all the release's pods but Knative's: a user that is not root, and the group by which it reads its secrets. */}}
{{- define "kaas.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* (dict "readOnly" true) */}}
{{- define "kaas.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: {{ .readOnly }}
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Whether an image's name is another image tomorrow: no tag, or latest. A port is none. */}}
{{- define "kaas.isMoving" -}}
{{- if or (hasSuffix ":latest" .) (not (regexMatch "(:|@sha256:)[^/]+$" .)) -}}
true
{{- end -}}
{{- end -}}

{{/* A text as a variable's value or an argument, in which the kubelet would put variables for $(NAME). */}}
{{- define "kaas.literal" -}}
{{ . | replace "$" "$$" | quote }}
{{- end -}}

{{- define "kaas.scheme" -}}
{{ if .Values.tls.secret }}https{{ else }}http{{ end }}
{{- end -}}

{{- define "kaas.poolUrl" -}}
{{ include "kaas.scheme" . }}://{{ include "kaas.fullname" . }}.{{ .Release.Namespace }}.svc:7233
{{- end -}}

{{- define "kaas.tokensSecret" -}}
{{ .Values.auth.tokensSecret | default (printf "%s-tokens" (include "kaas.fullname" .)) }}
{{- end -}}

{{/* Whom the chart makes tokens for, as JSON. The pool reads them at its start, so what is here starts it again. */}}
{{- define "kaas.roles" -}}
{{- $roles := dict -}}
{{- if not .Values.auth.tokensSecret -}}
{{- $_ := set $roles "client" (dict "tenant" .Values.auth.tenant "scopes" (list "invoke" "read")) -}}
{{- if .Values.metrics.serviceMonitor.enabled -}}
{{- $_ := set $roles "metrics" (dict "tenant" "operator" "scopes" (list "read" "admin")) -}}
{{- end -}}
{{- if .Values.openwhisk.plugin.enabled -}}
{{- $_ := set $roles "invoker" (dict "tenant" "openwhisk" "scopes" (list "invoke" "vouch")) -}}
{{- end -}}
{{- end -}}
{{ toJson $roles }}
{{- end -}}

{{- define "kaas.clientTokenSecret" -}}
{{ .Values.auth.clientTokenSecret | default (printf "%s-client" (include "kaas.fullname" .)) }}
{{- end -}}

{{- define "kaas.metricsTokenSecret" -}}
{{ .Values.auth.metricsTokenSecret | default (printf "%s-metrics" (include "kaas.fullname" .)) }}
{{- end -}}

{{- define "kaas.storesSecret" -}}
{{ .Values.store.existingSecret | default (printf "%s-stores" (include "kaas.fullname" .)) }}
{{- end -}}

{{/* What a client of the pool needs besides its token: the address, and the authority if it is a private one. */}}
{{- define "kaas.clientEnv" -}}
- name: KAAS_POOL_URL
  value: {{ include "kaas.poolUrl" . }}
{{- if .Values.tls.secret }}
- name: SSL_CERT_FILE
  value: /etc/kaas/ca/ca.crt
{{- end }}
{{- end -}}

{{- define "kaas.clientVolume" -}}
{{- if .Values.tls.secret }}
- name: ca
  secret:
    secretName: {{ .Values.tls.secret | quote }}
    # Not the key that lies beside it.
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end -}}

{{- define "kaas.clientMount" -}}
{{- if .Values.tls.secret }}
- {name: ca, mountPath: /etc/kaas/ca, readOnly: true}
{{- end }}
{{- end -}}

{{/* A connection that says nothing: the mover takes it, and its end. */}}
{{- define "kaas.moverProbe" -}}
command:
  - python3
  - -ISc
  - import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(sys.argv[1])
  - /run/kaas/mover/mover.sock
{{- end -}}

{{/* A quantity of Kubernetes as a number, which only float64 reads. */}}
{{- define "kaas.quantity" -}}
{{- $units := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 -}}
{{- $units = merge $units (dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) -}}
{{- $units = merge $units (dict "Pi" 1125899906842624 "Ei" 1152921504606846976) -}}
{{- $text := toString . -}}
{{- mulf (regexReplaceAll "[a-zA-Z]+$" $text "" | float64) (index $units (regexFind "[a-zA-Z]*$" $text)) -}}
{{- end -}}

{{/* The mover's sizes are powers of 1024 in either form. */}}
{{- define "kaas.hostBytes" -}}
{{ .Values.mover.hostBytes | trimSuffix "i" }}
{{- end -}}
