{{/*
The Deployment of a process. Of a dict: root, component, deployment (its values), account, args (JSON), ports, and env, volumes,
volumeMounts to add.
*/}}
{{- define "restamp.deployment" -}}
{{- $values := .deployment -}}
{{- $name := printf "%s-%s" (include "restamp.fullname" .root) .component -}}
{{- $match := merge (include "restamp.selectorLabels" . | fromYaml) (.root.Values.reloader.matchLabels | default dict) -}}
{{- $more := $values.labels | default dict -}}
{{- $volumes := concat (.volumes | default list) ($values.volumes | default list) -}}
{{- $volumeMounts := concat (.volumeMounts | default list) ($values.volumeMounts | default list) -}}
apiVersion: apps/v1
kind: Deployment
{{ include "restamp.metadata" (dict "root" .root "component" .component "name" $name "labels" $more "annotations" $values.annotations) }}
spec:
  replicas: {{ $values.replicas }}
  {{- if ne (toString $values.revisionHistoryLimit) "<nil>" }}
  revisionHistoryLimit: {{ $values.revisionHistoryLimit }}
  {{- end }}
  selector:
    matchLabels:
      {{- toYaml $match | nindent 6 }}
  template:
    metadata:
      labels:
        {{- toYaml (merge (deepCopy $match) $more) | nindent 8 }}
      {{- $annotations := deepCopy ((($values.pod | default dict).annotations) | default dict) }}
      {{- with .secretSum }}{{ $_ := set $annotations "checksum/secret" . }}{{ end }}
      {{- with $annotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ .account | quote }}
      {{- if kindIs "bool" $values.automountServiceAccountToken }}
      automountServiceAccountToken: {{ $values.automountServiceAccountToken }}
      {{- end }}
      {{- with include "restamp.pullSecrets" (concat (.root.Values.global.imagePullSecrets | default list) ($values.imagePullSecrets | default list)) }}
      imagePullSecrets:
        {{- . | nindent 8 }}
      {{- end }}
      terminationGracePeriodSeconds: {{ .gracePeriod }}
      {{- if kindIs "bool" $values.hostUsers }}
      hostUsers: {{ $values.hostUsers }}
      {{- end }}
      {{- with $values.priorityClassName | default (include "restamp.ownPriorityClass" .root) }}
      priorityClassName: {{ . | quote }}
      {{- end }}
      {{- range $key := list "runtimeClassName" "schedulerName" }}
      {{- with index $values $key }}
      {{ $key }}: {{ . | quote }}
      {{- end }}
      {{- end }}
      {{- range $key := list "securityContext" "dnsConfig" "nodeSelector" "affinity" "tolerations" }}
      {{- with index $values $key }}
      {{ $key }}:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      topologySpreadConstraints:
      {{- with $values.topologySpreadConstraints }}
        {{- toYaml . | nindent 8 }}
      {{- else }}
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- toYaml $match | nindent 14 }}
          # Or the pods that a rollout replaces are counted.
          matchLabelKeys: [pod-template-hash]
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "restamp.image" .root | quote }}
          {{- with .root.Values.image.pullPolicy }}
          imagePullPolicy: {{ . }}
          {{- end }}
          args:
            {{- .args | fromJsonArray | toYaml | nindent 12 }}
          env:
            {{- include "restamp.env" . | nindent 12 }}
          ports:
            {{- toYaml .ports | nindent 12 }}
          livenessProbe:
            httpGet:
              path: /healthz
              port: admin
            {{- with include "restamp.probe" $values.livenessProbe }}
            {{- . | nindent 12 }}
            {{- end }}
          readinessProbe:
            httpGet:
              path: /readyz
              port: admin
            {{- with include "restamp.probe" $values.readinessProbe }}
            {{- . | nindent 12 }}
            {{- end }}
          {{- with $values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $values.containerSecurityContext }}
          securityContext:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $volumeMounts }}
          volumeMounts:
            {{- toYaml . | nindent 12 }}
          {{- end }}
      {{- with $volumes }}
      volumes:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end -}}

{{- define "restamp.env" -}}
{{- $env := .deployment.env | default dict -}}
{{- $secret := printf "%s-%s" (include "restamp.fullname" .root) .component -}}
- name: RESTAMP_NAMESPACE
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.namespace
{{- with .root.Values.reloader.logFormat }}
- name: RESTAMP_LOG_FORMAT
  value: {{ . }}
{{- end }}
{{- with .root.Values.reloader.logLevel }}
- name: RESTAMP_LOG_LEVEL
  value: {{ . | quote }}
{{- end }}
{{- with .env }}
{{ toYaml . }}
{{- end }}
{{- range $name, $value := $env.open | default dict }}
{{- if not (empty $value) }}
- name: {{ $name | quote }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- range $name, $value := $env.secret | default dict }}
{{- if not (empty $value) }}
- name: {{ $name | quote }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret | quote }}
      key: {{ $name | quote }}
{{- end }}
{{- end }}
{{- range $from, $keys := $env.existing | default dict }}
{{- range $name, $key := $keys }}
{{- if not (empty $key) }}
- name: {{ $name | quote }}
  valueFrom:
    secretKeyRef:
      name: {{ $from | quote }}
      key: {{ $key | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $path := $env.field | default dict }}
{{- if not (empty $path) }}
- name: {{ $name | quote }}
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: {{ $path | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Of a probe, what Reloader's chart takes. */}}
{{- define "restamp.probe" -}}
{{- with pick (. | default dict) "timeoutSeconds" "failureThreshold" "periodSeconds" "successThreshold" "initialDelaySeconds" -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* The Secret of `env.secret`; nothing without any. Of `stringData`, an upgrade would leave what is no longer there. */}}
{{- define "restamp.envSecret" -}}
{{- $data := dict -}}
{{- range $name, $value := (.deployment.env | default dict).secret | default dict -}}
{{- if not (empty $value) }}{{ $_ := set $data $name (toString $value | b64enc) }}{{ end -}}
{{- end -}}
{{- with $data -}}
apiVersion: v1
kind: Secret
{{ include "restamp.metadata" (dict "root" $.root "component" $.component "name" (printf "%s-%s" (include "restamp.fullname" $.root) $.component)) }}
type: Opaque
data:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* Of a dict: root, component, budget (its values). */}}
{{- define "restamp.podDisruptionBudget" -}}
{{- if .budget.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
{{ include "restamp.metadata" (dict "root" .root "component" .component "name" (printf "%s-%s" (include "restamp.fullname" .root) .component)) }}
spec:
  {{- if and .budget.minAvailable (has (toString .budget.maxUnavailable) (list "<nil>" "")) }}
  minAvailable: {{ .budget.minAvailable }}
  {{- else }}
  maxUnavailable: {{ has (toString .budget.maxUnavailable) (list "<nil>" "") | ternary 1 .budget.maxUnavailable }}
  {{- end }}
  # Or `kubectl drain` waits for ever for pods that are not ready.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "restamp.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* Of a dict: root, component, account (its values). */}}
{{- define "restamp.account" -}}
{{- if .account.create -}}
apiVersion: v1
kind: ServiceAccount
{{ include "restamp.metadata" (dict "root" .root "component" .component "name" (include "restamp.accountName" .) "labels" .account.labels "annotations" .account.annotations) }}
{{- if kindIs "bool" .account.automountServiceAccountToken }}
automountServiceAccountToken: {{ .account.automountServiceAccountToken }}
{{- end }}
{{- with include "restamp.pullSecrets" .root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}
