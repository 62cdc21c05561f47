//! Flags about which namespaces and which sources are followed. Names and values are those of stakater/Reloader.

use clap::Args;

use super::list::{self, List};
use crate::stamp::{scope::Namespaces, selector::LabelSelector, source::is_namespace};

/// Reloader's variable that has one namespace followed.
pub(super) const ONE_NAMESPACE: &str = "KUBERNETES_NAMESPACE";

#[derive(Args)]
pub(super) struct ScopeArgs {
    /// Follow these namespaces alone, with rights in each of them.
    #[arg(long, value_name = "NAMES", value_parser = namespaces)]
    namespaces: Vec<List<&'static str>>,
    /// Follow all namespaces but these.
    #[arg(long, value_name = "NAMES", value_parser = namespaces)]
    namespaces_to_ignore: Vec<List<&'static str>>,
    /// Follow only namespaces with such labels.
    #[arg(long, value_name = "SELECTOR", value_parser = list::record)]
    namespace_selector: Vec<List<String>>,
    /// Follow only ConfigMaps and Secrets with such labels.
    #[arg(long, value_name = "SELECTOR", value_parser = list::record)]
    resource_label_selector: Vec<List<String>>,
}

impl ScopeArgs {
    /// The namespaces that are followed; `one` is what the variable names.
    pub(super) fn namespaces(&self, one: Option<&str>) -> Result<Namespaces, String> {
        let selector = selector("--namespace-selector", &self.namespace_selector)?;
        let only = self.only(one)?;
        if !only.is_empty() {
            return Ok(Namespaces::Only(only.into_iter().collect()));
        }
        Ok(Namespaces::Cluster {
            ignored: list::all(&self.namespaces_to_ignore).copied().collect(),
            selector,
        })
    }

    /// The labels that sources need.
    pub(super) fn source_labels(&self) -> Result<Option<LabelSelector>, String> {
        selector("--resource-label-selector", &self.resource_label_selector)
    }

    /// What is given and means nothing here.
    pub(super) fn warning(&self, one: Option<&str>) -> Option<&'static str> {
        let ignores = list::all(&self.namespaces_to_ignore).next().is_some();
        let selects = list::all(&self.namespace_selector).next().is_some();
        let is_scoped = self.only(one).is_ok_and(|only| !only.is_empty());
        (is_scoped && (ignores || selects)).then_some(
            "--namespaces-to-ignore and --namespace-selector have no effect: the namespaces to follow are given by name",
        )
    }

    fn only(&self, one: Option<&str>) -> Result<Vec<&'static str>, String> {
        let named: Vec<_> = list::all(&self.namespaces).copied().collect();
        let one = one.filter(|one| named.is_empty() && !one.is_empty());
        match one.map(namespace) {
            None => Ok(named),
            Some(Ok(one)) => Ok(vec![one]),
            Some(Err(problem)) => Err(format!("{ONE_NAMESPACE}: {problem}")),
        }
    }
}

fn namespaces(text: &str) -> Result<List<&'static str>, String> {
    list::names(text, namespace)
}

/// The name of a namespace, for as long as the process lives.
fn namespace(text: &str) -> Result<&'static str, String> {
    if is_namespace(text) {
        Ok(Box::leak(text.to_owned().into_boxed_str()))
    } else {
        Err(format!(
            "no namespace can be called {text:?}; write names, separated by commas"
        ))
    }
}

/// What Reloader makes of the elements of a selector, read as Kubernetes does; nothing if there are none.
fn selector(flag: &str, elements: &[List<String>]) -> Result<Option<LabelSelector>, String> {
    let elements: Vec<_> = list::all(elements).map(|it| requirement(it)).collect();
    let text = elements.join(",");
    let selector: LabelSelector = text.parse().map_err(|error| {
        format!("{flag}: {text:?} is no label selector: {error}; write one such as env=prod,team")
    })?;
    Ok(Some(selector).filter(|selector| !selector.is_empty()))
}

/// Reloader has a syntax of its own, `env:prod` and `env:*`, beside the one of Kubernetes. Both are looked for in the
/// element as it was given.
fn requirement(element: &str) -> String {
    let halves = |separator| {
        let mut parts = element.split(separator);
        parts.next().zip(parts.next())
    };
    match (halves('='), halves(':')) {
        (Some((key, "*")), _) | (_, Some((key, "*"))) => key.to_owned(),
        (_, Some((key, value))) => format!("{key}={value}"),
        (_, None) => element.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::stamp::scope::Scope;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        scope: ScopeArgs,
    }

    fn parse(args: &[&str]) -> Result<ScopeArgs, String> {
        let args = ["restamp"].iter().chain(args);
        let program = Program::try_parse_from(args).map_err(|error| error.to_string())?;
        Ok(program.scope)
    }

    fn scopes(args: &[&str], one: Option<&str>) -> Result<Vec<Scope>, String> {
        Ok(parse(args)?.namespaces(one)?.scopes().collect())
    }

    fn selects(args: &[&str]) -> Result<Option<String>, String> {
        let namespaces = parse(args)?.namespaces(None)?;
        Ok(namespaces.selector().map(ToString::to_string))
    }

    #[test]
    fn without_flags_all_is_followed() {
        assert_eq!(scopes(&[], None), Ok(vec![Scope::Cluster]));
        assert_eq!(scopes(&[], Some("")), Ok(vec![Scope::Cluster]));
        assert_eq!(selects(&[]), Ok(None));
        assert_eq!(parse(&[]).unwrap().source_labels(), Ok(None));
        for empty in [
            "--namespaces=",
            "--namespaces-to-ignore=",
            "--namespace-selector=",
        ] {
            assert_eq!(scopes(&[empty], None), Ok(vec![Scope::Cluster]), "{empty}");
        }
    }

    #[test]
    fn namespaces_are_listed_and_listed_twice_they_are_one() {
        let [a, b] = ["a", "b"].map(Scope::Namespace);
        for args in [
            &["--namespaces=a,b"][..],
            &["--namespaces", "b, a,"],
            &["--namespaces=a", "--namespaces=b,a"],
            &["--namespaces=\"a\",\"b\""],
        ] {
            assert_eq!(scopes(args, Some("other")), Ok(vec![a, b]), "{args:?}");
        }
        let ignored = parse(&["--namespaces-to-ignore=b,a,b"]).unwrap();
        let ignored = ignored.namespaces(None).unwrap();
        assert_eq!(ignored.ignored().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn the_variable_names_one_namespace_if_no_flag_does() {
        assert_eq!(scopes(&[], Some("a")), Ok(vec![Scope::Namespace("a")]));
        let error = scopes(&[], Some("a,b")).unwrap_err();
        assert!(error.contains("KUBERNETES_NAMESPACE"), "{error}");
    }

    #[test]
    fn what_cannot_be_a_namespace_is_refused() {
        for (args, told) in [
            (["--namespaces=Shop"], "no namespace can be called \"Shop\""),
            (["--namespaces-to-ignore=a,b.c"], "called \"b.c\""),
            (["--namespaces=a\"b"], "a quote belongs"),
        ] {
            let error = scopes(&args, None).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn what_means_nothing_beside_names_is_warned_about_once() {
        let warning = |args: &[&str], one| parse(args).unwrap().warning(one);
        let given = ["--namespaces-to-ignore=b", "--namespace-selector=env"];
        assert_eq!(warning(&given, None), None);
        assert_eq!(warning(&["--namespaces=a"], None), None);
        for (args, one) in [
            (&["--namespaces=a", given[0], given[1]][..], None),
            (&["--namespaces=a", given[1]], None),
            (&given[..1], Some("a")),
        ] {
            let warning = warning(args, one).unwrap();
            assert!(warning.contains("have no effect: "), "{warning}");
            assert!(scopes(args, one).unwrap() == [Scope::Namespace("a")]);
        }
    }

    #[test]
    fn selectors_have_reloader_s_own_syntax_too() {
        for (given, meant) in [
            ("env:prod", "env=prod"),
            ("env:*", "env"),
            ("env=*", "env"),
            ("env==prod", "env==prod"),
            ("env:", "env="),
            ("key in (v1,v2)", "key in (v1,v2)"),
            ("!key", "!key"),
            ("key notin (a)", "key notin (a)"),
            ("\"env=test\"", "env=test"),
            ("\"a=b,c=d\"", "a=b,c=d"),
            ("a:b:c", "a=b"),
            ("a:*,b=*,c", "a,b,c"),
            ("a, b", "a, b"),
        ] {
            let flag = format!("--namespace-selector={given}");
            assert_eq!(selects(&[&flag]), Ok(Some(meant.to_owned())), "{given}");
            let flag = format!("--resource-label-selector={given}");
            let labels = parse(&[&flag]).unwrap().source_labels().unwrap();
            assert_eq!(labels.unwrap().as_str(), meant, "{given}");
        }
        let twice = ["--namespace-selector=a:*", "--namespace-selector=b=c"];
        assert_eq!(selects(&twice), Ok(Some("a,b=c".to_owned())));
    }

    #[test]
    fn selectors_that_cannot_be_read_are_refused() {
        for bad in ["env==*", "env!=*", "a:b=c", "a,", "x:y=*", "env=a b", "(a)"] {
            let error = selects(&[&format!("--namespace-selector={bad}")]).unwrap_err();
            assert!(
                error.contains("--namespace-selector") && error.contains("is no label selector"),
                "{bad}: {error}"
            );
            let scope = parse(&[&format!("--resource-label-selector={bad}")]).unwrap();
            let error = scope.source_labels().unwrap_err();
            assert!(error.contains("--resource-label-selector"), "{error}");
        }
    }
}
