use super::*;
use crate::stamp::source::{SourceKind, SourceName};

fn class(name: &str) -> SourceId {
    SourceName::new(SourceKind::SecretProviderClass, name).within("shop")
}

fn row(name: &str, content: Option<u64>, updated: bool) -> PodStatusRow {
    let mount = |content| Mount {
        content,
        updated,
        version: content,
    };
    PodStatusRow {
        namespace: "shop".into(),
        name: name.into(),
        mount: content.map(|content| (class("vault"), mount(content))),
    }
}

fn listed(rows: &[PodStatusRow]) -> (Mounts, Vec<SourceId>) {
    let mut mounts = Mounts::default();
    let changed = relist(&mut mounts, rows);
    (mounts, changed)
}

fn relist(mounts: &mut Mounts, rows: &[PodStatusRow]) -> Vec<SourceId> {
    mounts.apply(Event::Init);
    for row in rows {
        mounts.apply(Event::InitApply(row.clone()));
    }
    mounts.apply(Event::InitDone)
}

#[test]
fn a_rollout_on_the_same_content_is_no_news() {
    let (mut mounts, changed) = listed(&[row("a", Some(1), false)]);
    assert_eq!(changed, [class("vault")]);
    for pod in 0..100 {
        let new = row(&format!("new-{pod}"), Some(1), false);
        assert_eq!(mounts.apply(Event::Apply(new)), []);
    }
    let old = row("a", Some(1), false);
    assert_eq!(mounts.apply(Event::Delete(old)), []);
}

#[test]
fn of_many_pods_that_are_updated_the_first_and_the_last_are_news() {
    let pods: Vec<_> = (0..9)
        .map(|pod| row(&pod.to_string(), Some(1), false))
        .collect();
    let (mut mounts, _) = listed(&pods);
    for pod in 0..9 {
        let changed = mounts.apply(Event::Apply(row(&pod.to_string(), Some(2), true)));
        assert_eq!(changed.is_empty(), pod % 8 != 0, "{pod}");
    }
}

#[test]
fn what_is_not_populated_yet_says_nothing() {
    let (mut mounts, changed) = listed(&[row("a", None, false)]);
    assert_eq!(changed, []);
    assert_eq!(
        mounts.apply(Event::Apply(row("a", Some(1), true))),
        [class("vault")]
    );
    assert_eq!(
        mounts.apply(Event::Apply(row("a", None, true))),
        [class("vault")]
    );
}

#[test]
fn a_status_that_comes_to_be_about_another_class_is_news_of_both() {
    let (mut mounts, _) = listed(&[row("a", Some(1), false), row("b", Some(1), false)]);
    let mut other = row("a", Some(1), true);
    if let Some((class_of, _)) = &mut other.mount {
        *class_of = class("cloud");
    }
    let changed = mounts.apply(Event::Apply(other));
    assert_eq!(changed, [class("cloud")], "b shows the same of the other");
    let changed = mounts.apply(Event::Delete(row("b", Some(1), false)));
    assert_eq!(changed, [class("vault")]);
}

#[test]
fn a_new_list_tells_what_changed_meanwhile_and_nothing_else() {
    let (mut mounts, _) = listed(&[row("a", Some(1), false)]);
    let same = [row("b", Some(1), false), row("c", Some(1), false)];
    assert_eq!(relist(&mut mounts, &same), []);
    assert_eq!(
        relist(&mut mounts, &[row("b", Some(2), true)]),
        [class("vault")]
    );
    assert_eq!(relist(&mut mounts, &[]), [class("vault")]);
}

#[test]
fn a_watch_that_cannot_be_had_holds_nothing_up() {
    let mut mounts = Mounts::default();
    assert!(!mounts.is_listed());
    mounts.broke_off();
    assert!(mounts.is_listed() && mounts.is_broken());
    mounts.apply(Event::Init);
    assert!(!mounts.is_broken());
}
