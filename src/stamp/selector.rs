//! Label selectors, as Kubernetes reads and understands them (`k8s.io/apimachinery/pkg/labels`).

mod parse;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

pub use parse::{SelectorError, is_qualified_name};

/// Which objects are meant, by their labels. One that asks for nothing means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector {
    text: String,
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    DoesNotExist,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    GreaterThan(i64),
    LessThan(i64),
}

impl LabelSelector {
    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |it: &Requirement| it.test.holds(labels.get(&it.key));
        self.requirements.iter().all(holds)
    }

    /// Whether it means every object.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// As the API server takes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Test {
    fn holds(&self, value: Option<&String>) -> bool {
        let number = || value?.parse::<i64>().ok();
        match self {
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Test::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter();
        let labels = labels.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let selector: LabelSelector = selector.parse().unwrap();
        selector.matches(&labels.collect())
    }

    #[test]
    fn it_means_what_it_means_to_kubernetes() {
        const PROD: &[(&str, &str)] = &[("env", "prod"), ("example.com/n", "3")];
        for (selector, meant) in [
            ("", true),
            ("  ", true),
            ("env", true),
            ("!env", false),
            ("!other", true),
            ("env=prod", true),
            ("env==prod", true),
            (" env = prod ", true),
            ("env=test", false),
            ("env=", false),
            ("env!=prod", false),
            ("env!=test", true),
            ("other!=test", true),
            ("env in (prod,test)", true),
            ("env in ( test , prod )", true),
            ("env in (test)", false),
            ("env in (,prod)", true),
            ("env notin (prod)", false),
            ("other notin (prod)", true),
            ("example.com/n>2", true),
            ("example.com/n > 3", false),
            ("example.com/n<4", true),
            ("env>1", false),
            ("other<4", false),
            ("env=prod,example.com/n", true),
            ("env=prod,other", false),
            // Keywords only where one is expected.
            ("in", false),
            ("!notin", true),
            ("env in (in,prod)", true),
        ] {
            assert_eq!(means(selector, PROD), meant, "{selector:?}");
        }
        assert!(means("env=", &[("env", "")]));
        assert!(means("env in (prod,)", &[("env", "")]));
        assert!(means("in=notin", &[("in", "notin")]));
    }

    #[test]
    fn what_kubernetes_does_not_take_is_refused() {
        let long = "x".repeat(64);
        for bad in [
            ",",
            "a,",
            ",a",
            "a,,b",
            "a b",
            "a=b=c",
            "a==*",
            "a!",
            "a=!b",
            "=b",
            "!",
            "!a=b",
            "!!a",
            "a in",
            "a in b",
            "a in ()",
            "a in (b",
            "a in (b c)",
            "a in (b))",
            "a notin ()",
            "a>b",
            "a>",
            "a<1.5",
            "a===b",
            "a:b",
            "-a",
            "a/",
            "/a",
            "a/b/c",
            "A.example/b/",
            "a=-b",
            "a=b/c",
            &long,
            &format!("a={long}"),
        ] {
            let parsed = bad.parse::<LabelSelector>();
            assert!(parsed.is_err(), "{bad:?}: {parsed:?}");
        }
    }
}
