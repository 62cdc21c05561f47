//! The roles of a ServiceAccount, each with its rules, some of them taken away for a while.

use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::given::Right;
use crate::support::{Ground, ground::SYSTEM, wait::until};

/// The roles of a ServiceAccount, as they were when they were looked up.
pub struct Roles {
    client: Client,
    account: &'static str,
    roles: Vec<Given>,
}

/// A role.
struct Given {
    /// Nothing if it is of the cluster.
    namespace: Option<String>,
    name: String,
    rules: Vec<PolicyRule>,
}

impl Roles {
    pub async fn of(ground: &Ground, account: &'static str) -> Self {
        let client = ground.client().await;
        let (all, api) = (
            ListParams::default(),
            Api::<ClusterRoleBinding>::all(client.clone()),
        );
        let of_cluster = api.list(&all).await.expect("bindings").items;
        let api = Api::<RoleBinding>::all(client.clone());
        let of_namespaces = api.list(&all).await.expect("bindings").items;
        let of_cluster = of_cluster
            .into_iter()
            .map(|it| (None, it.role_ref, it.subjects));
        let of_namespaces = of_namespaces
            .into_iter()
            .map(|it| (it.namespace(), it.role_ref, it.subjects));
        let mut roles = Vec::new();
        for (namespace, RoleRef { name, .. }, subjects) in of_cluster.chain(of_namespaces) {
            let is_it =
                |it: &Subject| it.name == account && it.namespace.as_deref() == Some(SYSTEM);
            if !subjects.iter().flatten().any(is_it) {
                continue;
            }
            let rules = match &namespace {
                None => {
                    let api = Api::<ClusterRole>::all(client.clone());
                    api.get(&name).await.expect("a role").rules
                }
                Some(namespace) => {
                    let api = Api::<Role>::namespaced(client.clone(), namespace);
                    api.get(&name).await.expect("a role").rules
                }
            };
            roles.push(Given {
                namespace,
                name,
                rules: rules.expect("rules"),
            });
        }
        Self {
            client,
            account,
            roles,
        }
    }

    /// Gives everything but this right. What would make up for it in the same place goes, too.
    pub async fn all_but(&self, right: Right) {
        let from = self.roles.iter().find(|role| role.gives(right));
        let from = from.unwrap_or_else(|| panic!("{} has {right:?}", self.account));
        let name = from.name_of(right);
        for role in &self.roles {
            let is_there = role.namespace.is_none() || role.namespace == from.namespace;
            let makes_up = |rule: &PolicyRule| match &rule.resource_names {
                None => true,
                Some(names) => name.is_some_and(|name| names.contains(name)),
            };
            let rules = role.rules.iter().flat_map(|rule| {
                let is_it = std::ptr::eq(role, from) || (is_there && makes_up(rule));
                if is_it {
                    without(rule, right)
                } else {
                    vec![rule.clone()]
                }
            });
            self.set(role, &rules.collect::<Vec<_>>()).await;
        }
        self.until_taken(right, from.namespace.as_deref(), name)
            .await;
    }

    /// Gives everything.
    pub async fn all(&self) {
        for role in &self.roles {
            self.set(role, &role.rules).await;
        }
    }

    async fn set(&self, role: &Given, rules: &[PolicyRule]) {
        let (client, params) = (self.client.clone(), PatchParams::default());
        let patch = Patch::Merge(json!({ "rules": rules }));
        match &role.namespace {
            None => {
                let api = Api::<ClusterRole>::all(client);
                let set = api.patch(&role.name, &params, &patch).await;
                set.expect("the rules of the cluster");
            }
            Some(namespace) => {
                let api = Api::<Role>::namespaced(client, namespace);
                let set = api.patch(&role.name, &params, &patch).await;
                set.expect("the rules of the namespace");
            }
        }
    }

    /// The API server learns of changed rules by watching them.
    async fn until_taken(&self, right: Right, namespace: Option<&str>, name: Option<&String>) {
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let user = format!("system:serviceaccount:{SYSTEM}:{}", self.account);
        let Right {
            verb,
            group,
            resource,
            ..
        } = right;
        let attributes = json!({
            "verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name,
        });
        let review = json!({ "spec": { "user": user, "resourceAttributes": attributes } });
        let review = serde_json::from_value(review).expect("a review");
        until("the API server knows the rules", async || {
            let answer = api.create(&PostParams::default(), &review).await;
            let status = answer.expect("an answer").status.expect("a status");
            if status.allowed { Err(status) } else { Ok(()) }
        })
        .await;
    }
}

impl Given {
    fn gives(&self, right: Right) -> bool {
        let kind = match self.namespace {
            None => "ClusterRole",
            Some(_) => "Role",
        };
        let is_it = right.role == format!("{kind}/{}", self.name);
        is_it && self.rules.iter().any(|rule| gives(rule, right))
    }

    /// What the right is for, if it is for one object alone.
    fn name_of(&self, right: Right) -> Option<&String> {
        let mut rules = self.rules.iter().filter(|rule| gives(rule, right));
        rules.next()?.resource_names.as_ref()?.first()
    }
}

fn gives(rule: &PolicyRule, right: Right) -> bool {
    let has = |list: &Option<Vec<String>>, what: &str| list.iter().flatten().any(|of| of == what);
    rule.verbs.iter().any(|of| of == right.verb)
        && has(&rule.api_groups, right.group)
        && has(&rule.resources, right.resource)
}

/// A rule without a right: one rule for each of its resources.
pub fn without(rule: &PolicyRule, right: Right) -> Vec<PolicyRule> {
    if !gives(rule, right) {
        return vec![rule.clone()];
    }
    let resources = rule.resources.iter().flatten();
    let rules = resources.map(|of| {
        let mut rule = rule.clone();
        rule.resources = Some(vec![of.clone()]);
        if of == right.resource {
            rule.verbs.retain(|verb| verb != right.verb);
        }
        rule
    });
    rules.filter(|rule| !rule.verbs.is_empty()).collect()
}
