//! Rights, as requests need them.

use http::{Method, Uri};

/// What somebody has to be allowed for a request, in the words of RBAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// `get`, `patch`, ...
    pub verb: &'static str,
    /// Plural, with the API group unless it is the core group.
    pub resource: String,
}

impl Right {
    /// What a request needs; nothing if it is not about objects.
    pub fn of(method: &Method, uri: &Uri) -> Option<Self> {
        let path: Vec<_> = uri.path().split('/').skip(1).collect();
        let (group, path) = match &*path {
            ["api", _version, path @ ..] => (None, path),
            ["apis", group, _version, path @ ..] => (Some(group), path),
            _ => return None,
        };
        let (resource, has_name) = match path {
            ["namespaces", _, resource, name @ ..] | [resource, name @ ..] => {
                (resource, !name.is_empty())
            }
            [] => return None,
        };
        let is_watch = || {
            uri.query()
                .is_some_and(|query| query.contains("watch=true"))
        };
        let verb = match *method {
            Method::GET if has_name => "get",
            Method::GET if is_watch() => "watch",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => return None,
        };
        let resource = match group {
            Some(group) => format!("{resource}.{group}"),
            None => (*resource).to_owned(),
        };
        Some(Self { verb, resource })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_need_rights_in_the_words_of_rbac() {
        let right = |method, uri| {
            let right = Right::of(&method, &Uri::from_static(uri));
            right.map(|right| format!("{} {}", right.verb, right.resource))
        };
        for (method, uri, expected) in [
            (Method::GET, "/api/v1/secrets?limit=100", "list secrets"),
            (
                Method::GET,
                "/api/v1/secrets?&watch=true&x=y",
                "watch secrets",
            ),
            (
                Method::GET,
                "/api/v1/namespaces/shop/secrets/db",
                "get secrets",
            ),
            (
                Method::GET,
                "/api/v1/namespaces?limit=100",
                "list namespaces",
            ),
            (Method::GET, "/api/v1/namespaces/shop", "get namespaces"),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/shop/deployments/web?fieldManager=restamp",
                "patch deployments.apps",
            ),
            (
                Method::PATCH,
                "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/restamp",
                "patch mutatingwebhookconfigurations.admissionregistration.k8s.io",
            ),
            (
                Method::POST,
                "/apis/batch/v1/namespaces/shop/jobs",
                "create jobs.batch",
            ),
            (
                Method::DELETE,
                "/apis/batch/v1/namespaces/shop/jobs/once",
                "delete jobs.batch",
            ),
            (
                Method::PUT,
                "/apis/coordination.k8s.io/v1/namespaces/tools/leases/a",
                "update leases.coordination.k8s.io",
            ),
        ] {
            assert_eq!(right(method, uri).as_deref(), Some(expected), "{uri}");
        }
        for uri in ["/", "/version", "/apis", "/apis/apps/v1", "/api/v1"] {
            assert_eq!(right(Method::GET, uri), None, "{uri}");
        }
    }
}
