//! The rules of a ServiceAccount, some of them taken away for a while.

use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{Ground, ground::SYSTEM, wait::until};

/// Verb, group and resource.
pub type Right = (&'static str, &'static str, &'static str);

/// The rules in the roles of a ServiceAccount's name: of the cluster, and of its own namespace.
pub struct Roles {
    client: Client,
    account: &'static str,
    everywhere: Vec<PolicyRule>,
    at_home: Option<Vec<PolicyRule>>,
}

impl Roles {
    /// As they were installed.
    pub async fn of(ground: &Ground, account: &'static str) -> Self {
        let client = ground.client().await;
        let everywhere = Api::<ClusterRole>::all(client.clone()).get(account).await;
        let home = Api::<Role>::namespaced(client.clone(), SYSTEM);
        let at_home = home.get_opt(account).await.expect("an answer");
        Self {
            everywhere: everywhere.expect("the role").rules.expect("rules"),
            at_home: at_home.map(|role| role.rules.expect("rules")),
            account,
            client,
        }
    }

    /// Every right that they give.
    pub fn rights(&self) -> Vec<(String, String, String)> {
        let mut rights = Vec::new();
        for rule in self.everywhere.iter().chain(self.at_home.iter().flatten()) {
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    let right = |verb: &String| (verb.clone(), group.clone(), resource.clone());
                    rights.extend(rule.verbs.iter().map(right));
                }
            }
        }
        rights
    }

    /// Gives everything but this right.
    pub async fn all_but(&self, right: Right) {
        let at_home = self.at_home.as_ref().map(|rules| without(rules, right));
        self.set(&without(&self.everywhere, right), at_home.as_deref())
            .await;
        self.until_taken(right).await;
    }

    /// Gives everything.
    pub async fn all(&self) {
        self.set(&self.everywhere, self.at_home.as_deref()).await;
    }

    async fn set(&self, everywhere: &[PolicyRule], at_home: Option<&[PolicyRule]>) {
        let (client, params) = (self.client.clone(), PatchParams::default());
        let rules = |rules: &[PolicyRule]| Patch::Merge(json!({ "rules": rules }));
        Api::<ClusterRole>::all(client.clone())
            .patch(self.account, &params, &rules(everywhere))
            .await
            .expect("the rules of the cluster");
        if let Some(at_home) = at_home {
            Api::<Role>::namespaced(client, SYSTEM)
                .patch(self.account, &params, &rules(at_home))
                .await
                .expect("the rules of the namespace");
        }
    }

    /// The API server learns of changed rules by watching them.
    async fn until_taken(&self, (verb, group, resource): Right) {
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let user = format!("system:serviceaccount:{SYSTEM}:{}", self.account);
        let name = self.name_in_rules((verb, group, resource));
        let attributes = json!({
            "verb": verb, "group": group, "resource": resource, "namespace": SYSTEM, "name": name,
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

    /// What the right is for, if it is for one object alone.
    fn name_in_rules(&self, right: Right) -> Value {
        let mut rules = self.everywhere.iter().chain(self.at_home.iter().flatten());
        let rule = rules.find(|rule| gives(rule, right));
        let names = rule.and_then(|rule| rule.resource_names.as_ref());
        json!(names.and_then(|names| names.first()))
    }
}

fn gives(rule: &PolicyRule, (verb, group, resource): Right) -> bool {
    let has = |list: &Option<Vec<String>>, what: &str| list.iter().flatten().any(|of| of == what);
    rule.verbs.iter().any(|of| of == verb)
        && has(&rule.api_groups, group)
        && has(&rule.resources, resource)
}

/// The rules without a right.
fn without(rules: &[PolicyRule], right: Right) -> Vec<PolicyRule> {
    let (verb, _, resource) = right;
    let mut left = Vec::new();
    for rule in rules {
        for of in rule.resources.iter().flatten() {
            let mut rule = rule.clone();
            if of == resource && gives(&rule, right) {
                rule.verbs.retain(|of| of != verb);
            }
            rule.resources = Some(vec![of.clone()]);
            if !rule.verbs.is_empty() {
                left.push(rule);
            }
        }
    }
    left
}
