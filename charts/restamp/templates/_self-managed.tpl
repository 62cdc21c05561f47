{{/* The rights for certificates that Restamp manages. Of a dict: root, watcher, webhook (as `restamp.role` takes them), home. */}}
{{- define "restamp.selfManagedRoles" -}}
{{- $fullname := include "restamp.fullname" .root -}}
{{- $secret := include "restamp.certSecret" .root -}}
{{ include "restamp.role" (merge (dict
  "name" (printf "%s-certificates" .watcher.name)
  "rules" (printf "- apiGroups: [admissionregistration.k8s.io]\n  resources: [mutatingwebhookconfigurations]\n  resourceNames: [%q]\n  verbs: [get, list, watch, patch]" $fullname)
) .watcher) }}
---
{{ include "restamp.role" (merge (dict
  "name" (printf "%s-certificates" .watcher.name)
  "namespace" .home
  "rules" (printf "- apiGroups: [\"\"]\n  resources: [secrets]\n  resourceNames: [%q, \"%s-ca\"]\n  verbs: [get, list, watch, update]" $secret $secret)
) .watcher) }}
---
{{ include "restamp.role" (merge (dict
  "name" (printf "%s-certificates" .webhook.name)
  "namespace" .home
  "rules" (printf "- apiGroups: [\"\"]\n  resources: [secrets]\n  resourceNames: [%q]\n  verbs: [get]" $secret)
) .webhook) }}
{{- end -}}

{{/* Whether the certificates are Restamp's business. */}}
{{- define "restamp.isSelfManaged" -}}
{{- if and (include "restamp.hasWebhook" .) (eq .Values.certificates.mode "self-managed") }}true{{ end -}}
{{- end -}}
