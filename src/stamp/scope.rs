//! Which namespaces are followed.

use std::{collections::BTreeSet, fmt};

use super::selector::LabelSelector;

/// The namespaces that are followed. Their names live as long as the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Those of the cluster.
    Cluster {
        /// But for these.
        ignored: BTreeSet<&'static str>,
        /// And of the others, if it is given, only those with such labels.
        selector: Option<LabelSelector>,
    },
    /// These alone.
    Only(BTreeSet<&'static str>),
}

impl Default for Namespaces {
    fn default() -> Self {
        Self::Cluster {
            ignored: BTreeSet::new(),
            selector: None,
        }
    }
}

/// As in a log.
impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
        match self {
            Namespaces::Only(names) => f.write_str(&join(names)),
            Namespaces::Cluster { ignored, selector } => {
                match selector {
                    None => f.write_str("all")?,
                    Some(selector) => write!(f, "those with {selector}")?,
                }
                if ignored.is_empty() {
                    return Ok(());
                }
                write!(f, " but {}", join(ignored))
            }
        }
    }
}

/// What one watch is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All that is followed of the cluster.
    Cluster,
    /// One namespace.
    Namespace(&'static str),
}

impl Scope {
    /// The namespace, if it is one.
    pub fn namespace(self) -> Option<&'static str> {
        match self {
            Scope::Cluster => None,
            Scope::Namespace(name) => Some(name),
        }
    }

    /// Whether what is in the namespace is in it.
    pub fn contains(self, namespace: &str) -> bool {
        self.namespace().is_none_or(|name| name == namespace)
    }
}

impl Namespaces {
    /// What has to be watched.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        let (cluster, names) = match self {
            Namespaces::Cluster { .. } => (Some(Scope::Cluster), None),
            Namespaces::Only(names) => (None, Some(names)),
        };
        let names = names.into_iter().flatten().copied();
        cluster.into_iter().chain(names.map(Scope::Namespace))
    }

    /// What has to be watched for a namespace; nothing if it is not followed, as far as its name tells.
    pub fn scope_of(&self, namespace: &str) -> Option<Scope> {
        match self {
            Namespaces::Cluster { ignored, .. } => {
                (!ignored.contains(namespace)).then_some(Scope::Cluster)
            }
            Namespaces::Only(names) => names.get(namespace).copied().map(Scope::Namespace),
        }
    }

    /// The labels that a namespace needs to be followed.
    pub fn selector(&self) -> Option<&LabelSelector> {
        match self {
            Namespaces::Cluster { selector, .. } => selector.as_ref(),
            Namespaces::Only(_) => None,
        }
    }

    /// Those that are not followed, by name, of a cluster that is.
    pub fn ignored(&self) -> impl Iterator<Item = &'static str> {
        let ignored = match self {
            Namespaces::Cluster { ignored, .. } => Some(ignored),
            Namespaces::Only(_) => None,
        };
        ignored.into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_followed_by_its_name() {
        let all = Namespaces::default();
        assert!(all.scopes().eq([Scope::Cluster]));
        assert_eq!(all.scope_of("a"), Some(Scope::Cluster));
        let but_a = Namespaces::Cluster {
            ignored: ["a"].into(),
            selector: None,
        };
        assert_eq!(but_a.scope_of("a"), None);
        assert_eq!(but_a.scope_of("ab"), Some(Scope::Cluster));
        let only = Namespaces::Only(["b", "a"].into());
        let scopes = [Scope::Namespace("a"), Scope::Namespace("b")];
        assert!(only.scopes().eq(scopes));
        assert_eq!(only.scope_of("b"), Some(scopes[1]));
        assert_eq!(only.scope_of("c"), None);
        assert!(scopes[0].contains("a") && !scopes[0].contains("b"));
        assert!(Scope::Cluster.contains("b"));
        let labelled = Namespaces::Cluster {
            ignored: ["a", "b"].into(),
            selector: "env=prod".parse().ok(),
        };
        let said = [all, but_a, only, labelled].map(|it| it.to_string());
        let expected = ["all", "all but a", "a, b", "those with env=prod but a, b"];
        assert_eq!(said, expected);
    }
}
