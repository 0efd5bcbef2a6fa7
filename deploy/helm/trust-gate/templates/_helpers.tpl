{{/* Labels of every object. */}}
{{- define "trust-gate.labels" -}}
app.kubernetes.io/name: {{ .Values.name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* What the Pods of the gate are found by. Never changed: a StatefulSet keeps it for ever. */}}
{{- define "trust-gate.selector" -}}
app.kubernetes.io/name: {{ .Values.name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The gate's configuration. */}}
{{- define "trust-gate.config" -}}
state = "/var/lib/trust-gate/state"
log = "/var/lib/trust-gate/decisions.log"
refresh = {{ .Values.gate.refresh | quote }}
max_staleness = {{ .Values.gate.maxStaleness | quote }}
policy = {{ .Values.gate.policy | quote }}
{{- range $key, $collection := .Values.gate.collections }}

[[collections]]
name = {{ $collection.name | quote }}
root = "/etc/trust-gate/roots/{{ $key }}.root.json"
fingerprint = {{ $collection.fingerprint | quote }}
server = {{ $collection.server | quote }}
{{- if $collection.ca }}
ca = "/etc/trust-gate/roots/{{ $key }}.ca.pem"
{{- end }}
{{- end }}
{{- if .Values.gate.environment }}

[environment]
{{- range $key, $value := .Values.gate.environment }}
{{ $key }} = {{ $value | quote }}
{{- end }}
{{- end }}
{{- if .Values.gate.namespaces }}

[namespaces]
{{- range $namespace, $environment := .Values.gate.namespaces }}
{{ $namespace }} = {{ $environment | quote }}
{{- end }}
{{- end }}
{{- range $name, $environment := .Values.gate.environments }}

[environments.{{ $name }}]
{{- range $key, $value := $environment }}
{{ $key }} = {{ $value | quote }}
{{- end }}
{{- end }}

[admission]
listen = "0.0.0.0:8443"
certificate = "/etc/trust-gate/tls/tls.crt"
key = "/etc/trust-gate/tls/tls.key"
mode = {{ .Values.gate.mode | quote }}
recheck_unchanged = {{ .Values.gate.recheckUnchanged | quote }}
pin = {{ .Values.gate.pin | quote }}
tags = {{ .Values.gate.tags | quote }}
drain = {{ .Values.gate.drain | quote }}
{{- range .Values.gate.kinds }}

[[admission.kinds]]
group = {{ .group | quote }}
kind = {{ .kind | quote }}
{{- if .podSpecs }}
pod_specs = {{ .podSpecs | toJson }}
{{- end }}
{{- if .images }}
images = {{ .images | toJson }}
{{- end }}
{{- end }}
{{- if .Values.gate.gatekeeper.enabled }}

[admission.gatekeeper]
{{- if .Values.gate.gatekeeper.namespace }}
namespace = {{ .Values.gate.gatekeeper.namespace | quote }}
{{- end }}
{{- end }}
{{- if .Values.metrics.enabled }}

[metrics]
admission = "0.0.0.0:{{ .Values.metrics.port }}"
{{- end }}
{{- end }}

{{/* What both webhooks have alike, below `clientConfig`. */}}
{{- define "trust-gate.webhook" -}}
admissionReviewVersions: ["v1"]
# The gate has no side effects, so that dry runs work.
sideEffects: None
timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
failurePolicy: {{ .Values.webhook.failurePolicy }}
# Other API versions of the same object are converted and shown.
matchPolicy: Equivalent
# By the name, which the server sets. Any other label is set by whoever may edit namespaces. No objectSelector: the labels of
# an object are set by whoever submits it.
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values:
        - {{ .Release.Namespace | quote }}
        {{- range .Values.webhook.excludedNamespaces }}
        - {{ . | quote }}
        {{- end }}
rules:
  # A rule for pods is none for their subresources: the second entry is what `kubectl debug` asks.
  - operations: ["CREATE", "UPDATE"]
    apiGroups: [""]
    apiVersions: ["v1"]
    resources: ["pods", "pods/ephemeralcontainers", "replicationcontrollers", "podtemplates"]
    scope: Namespaced
  - operations: ["CREATE", "UPDATE"]
    apiGroups: ["apps"]
    apiVersions: ["v1"]
    resources: ["deployments", "replicasets", "statefulsets", "daemonsets"]
    scope: Namespaced
  - operations: ["CREATE", "UPDATE"]
    apiGroups: ["batch"]
    apiVersions: ["v1"]
    resources: ["jobs", "cronjobs"]
    scope: Namespaced
  {{- range .Values.gate.kinds }}
  - operations: ["CREATE", "UPDATE"]
    apiGroups: [{{ .group | quote }}]
    apiVersions: {{ .versions | toJson }}
    resources: [{{ .resource | quote }}]
    scope: Namespaced
  {{- end }}
{{- end }}

{{/* The pinned roots, and the authorities of servers, by the names that the configuration has. */}}
{{- define "trust-gate.roots" -}}
{{- range $key, $collection := .Values.gate.collections }}
{{ $key }}.root.json: {{ $collection.root | quote }}
{{- if $collection.ca }}
{{ $key }}.ca.pem: {{ $collection.ca | quote }}
{{- end }}
{{- end }}
{{- end }}
