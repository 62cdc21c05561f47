use super::*;
use crate::stamp::{
    digest::{InstallationKey, KEY_BYTES, Keyring, SourceDigests},
    references::Catalog,
    scope::Namespaces,
    source::SourceName,
};

const KIND: SourceKind = SourceKind::Secret;
const SECRETS: Part = (KIND, Scope::Cluster);

fn id(name: &str) -> SourceId {
    SourceName::new(KIND, name).within("shop")
}

fn version(n: u8) -> Version {
    Version {
        uid: "u".into(),
        resource_version: n.to_string().into(),
    }
}

fn row(name: &str, n: u8) -> Row {
    Row {
        id: id(name),
        version: version(n),
        marks: Marks::default(),
    }
}

fn present(n: u8) -> Content {
    let keyring = Keyring {
        current: InstallationKey::new(&[1; KEY_BYTES]).unwrap(),
        previous: None,
    };
    Content::Present {
        marks: Marks::default(),
        version: version(n),
        digests: SourceDigests::of(&keyring, id("db"), &[]),
    }
}

/// A table that was listed at 1, with these rows.
fn listed(rows: &[Row]) -> Sources {
    let mut sources = Sources::default();
    relist(&mut sources, rows, 1);
    sources
}

fn relist(sources: &mut Sources, rows: &[Row], now: Seq) -> Vec<Change> {
    sources.apply(SECRETS, Event::Init, now);
    for row in rows {
        sources.apply(SECRETS, Event::InitApply(row.clone()), now);
    }
    sources.apply(SECRETS, Event::InitDone, now)
}

fn read(sources: &mut Sources, began: Seq, content: Content) {
    assert!(sources.begin(&id("db")));
    sources.finish(id("db"), began, Some(content));
}

fn is_known(sources: &Sources) -> bool {
    sources.live(&id("db")).is_some()
}

#[test]
fn a_read_is_trusted_until_something_newer_is_seen() {
    let mut sources = listed(&[row("db", 1)]);
    assert!(!is_known(&sources));
    read(&mut sources, 2, present(1));
    assert!(is_known(&sources));
    sources.apply(SECRETS, Event::Apply(row("db", 2)), 3);
    assert!(!is_known(&sources), "the watch shows another version");
    read(&mut sources, 4, present(3));
    assert!(
        is_known(&sources),
        "the read began after the row was received"
    );
    sources.apply(SECRETS, Event::Apply(row("db", 3)), 5);
    assert!(is_known(&sources), "the watch has caught up");
}

#[test]
fn a_read_that_a_deletion_overtakes_is_dropped() {
    let mut sources = listed(&[row("db", 1)]);
    assert!(sources.begin(&id("db")));
    sources.apply(SECRETS, Event::Delete(row("db", 1)), 3);
    sources.finish(id("db"), 2, Some(present(1)));
    assert!(!is_known(&sources));
}

#[test]
fn one_read_of_a_source_is_under_way_at_a_time() {
    let mut sources = listed(&[]);
    assert!(sources.begin(&id("db")));
    assert!(!sources.begin(&id("db")));
    sources.abandon(&id("db"));
    assert!(sources.begin(&id("db")));
}

#[test]
fn a_list_says_what_changed_and_that_nothing_was_seen_to_appear() {
    let mut sources = listed(&[row("same", 1), row("gone", 1), row("other", 1)]);
    let changes = relist(
        &mut sources,
        &[row("same", 1), row("other", 2), row("new", 1)],
        9,
    );
    let ids: Vec<_> = changes
        .iter()
        .map(|change| &*change.id.source.name)
        .collect();
    assert_eq!(ids, ["gone", "new", "other"]);
    assert!(changes.iter().all(|change| change.appeared.is_none()));
}

#[test]
fn the_same_row_again_is_no_change() {
    let mut sources = listed(&[row("db", 1)]);
    assert!(
        sources
            .apply(SECRETS, Event::Apply(row("db", 1)), 2)
            .is_empty()
    );
}

#[test]
fn an_absence_is_known_to_have_lasted_only_without_a_deletion_since() {
    let mut sources = listed(&[row("other", 3)]);
    let absent = |sources: &Sources, version| {
        sources.absence(&id("db"), version) == Some(Absence::Lasting(1))
    };
    assert!(absent(&sources, 3));
    assert!(
        !absent(&sources, 2),
        "something may have been deleted before the list"
    );
    sources.apply(SECRETS, Event::Delete(row("other", 5)), 2);
    assert!(absent(&sources, 5));
    assert!(!absent(&sources, 4));
}

#[test]
fn an_absence_ends_with_the_first_event_and_only_with_that() {
    let mut sources = listed(&[]);
    let appeared = sources.apply(SECRETS, Event::Apply(row("db", 1)), 2);
    assert_eq!(appeared[0].appeared, Some(version(1)));
    let ended = version(1);
    assert_eq!(sources.absence(&id("db"), 0), Some(Absence::Ended(&ended)));
    sources.apply(SECRETS, Event::Apply(row("db", 2)), 3);
    assert_eq!(sources.absence(&id("db"), 0), None, "it changed since");
    sources.apply(SECRETS, Event::Delete(row("db", 3)), 4);
    sources.apply(SECRETS, Event::Apply(row("db", 4)), 5);
    assert_eq!(sources.absence(&id("db"), 0), None, "it is another one");
}

#[test]
fn nothing_is_known_of_absences_before_a_gap_ended() {
    let mut sources = listed(&[]);
    sources.apply(SECRETS, Event::Init, 2);
    assert_eq!(sources.absence(&id("db"), 9), None, "being listed again");
    relist(&mut sources, &[row("other", 3)], 3);
    assert_eq!(sources.absence(&id("db"), 9), None, "the list may be newer");
    sources.apply(SECRETS, Event::Apply(row("other", 7)), 4);
    assert_eq!(sources.absence(&id("db"), 6), None);
    assert_eq!(sources.absence(&id("db"), 7), Some(Absence::Lasting(3)));
}

#[test]
fn a_write_of_our_own_shows_that_a_list_before_it_is_older() {
    let mut sources = listed(&[]);
    relist(&mut sources, &[], 5);
    sources.written(4, Some(7));
    assert_eq!(sources.absence(&id("db"), 7), None, "it was under way");
    sources.written(6, Some(8));
    assert_eq!(sources.absence(&id("db"), 7), None);
    assert_eq!(sources.absence(&id("db"), 8), Some(Absence::Lasting(5)));
}

#[test]
fn what_is_followed_is_listed_once_lists_of_it_were_complete() {
    let mut sources = listed(&[]);
    let config_maps = (SourceKind::ConfigMap, Scope::Cluster);
    let classes = (SourceKind::SecretProviderClass, Scope::Cluster);
    for part in [config_maps, classes] {
        sources.apply(part, Event::Init, 2);
        assert!(!sources.is_listed(Scope::Cluster));
        sources.apply(part, Event::InitDone, 2);
    }
    assert!(!sources.is_listed(Scope::Cluster));
    sources.apply_pod_status(Scope::Cluster, Event::InitDone);
    assert!(sources.is_listed(Scope::Cluster));
    sources.apply(config_maps, Event::Init, 3);
    let why = "a later list does not stop the work";
    assert!(sources.is_listed(Scope::Cluster), "{why}");
}

#[test]
fn a_list_of_one_namespace_leaves_the_others_as_they_are() {
    let policy = PolicySettings {
        namespaces: Namespaces::Only(["shop", "mall"].into()),
        ..PolicySettings::default()
    };
    let mut sources = Sources::new(policy.into());
    let [shop, mall] = ["shop", "mall"].map(|name| (KIND, Scope::Namespace(name)));
    sources.apply(shop, Event::Init, 1);
    sources.apply(shop, Event::InitApply(row("db", 1)), 1);
    sources.apply(shop, Event::InitDone, 1);
    read(&mut sources, 2, present(1));
    for event in [Event::Init, Event::InitDone] {
        assert!(sources.apply(mall, event, 3).is_empty());
    }
    assert!(is_known(&sources));
    assert_eq!(sources.session(&id("db")), Some(1));
    let of_mall = id("db").source.within("mall");
    assert_eq!(sources.session(&of_mall), Some(3));
    sources.broke_off(mall);
    assert!(sources.is_broken(&of_mall) && !sources.is_broken(&id("db")));
    sources.apply(mall, Event::Init, 4);
    assert_eq!(sources.session(&of_mall), None);
    assert_eq!(sources.session(&id("db")), Some(1));
}

/// A table of sources with a label, one of which has been read and has left it.
fn labelled(reload_on_create: bool) -> Sources {
    let policy = PolicySettings {
        source_labels: Some("team".parse().unwrap()),
        reload_on_create,
        ..PolicySettings::default()
    };
    let mut sources = Sources::new(policy.into());
    relist(&mut sources, &[row("db", 1)], 1);
    read(&mut sources, 2, present(1));
    sources.apply(SECRETS, Event::Delete(row("db", 2)), 3);
    sources
}

#[test]
fn what_may_only_lack_a_label_is_neither_absent_nor_to_be_read() {
    let sources = labelled(false);
    assert!(matches!(sources.live(&id("db")), Some(Live::Unreadable)));
    assert!(!sources.is_unreadable(&id("db")), "nothing to try again");
    assert!(sources.was_read_after(&id("db"), 9));
    assert!(sources.within("shop").is_partial(KIND));
    let sources = labelled(true);
    assert!(matches!(sources.live(&id("db")), Some(Live::Absent)));
    assert!(!sources.within("shop").is_partial(KIND));
}

#[test]
fn a_read_that_shows_that_the_label_is_gone_concludes_nothing() {
    let mut sources = labelled(false);
    sources.apply(SECRETS, Event::Apply(row("db", 3)), 4);
    read(&mut sources, 5, Content::NotFollowed);
    assert!(matches!(sources.live(&id("db")), Some(Live::Unreadable)));
}

#[test]
fn the_names_of_a_namespace_are_of_it_and_of_the_kind() {
    let mut elsewhere = row("x", 1);
    elsewhere.id.namespace = "shopping".into();
    let sources = listed(&[row("b", 1), row("a", 1), elsewhere]);
    let shop = sources.within("shop");
    assert_eq!(shop.names(KIND).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(shop.names(SourceKind::ConfigMap).count(), 0);
}

#[test]
fn a_watch_of_what_may_not_be_there_is_not_waited_for() {
    let mut sources = listed(&[]);
    for kind in SourceKind::CORE {
        sources.apply((kind, Scope::Cluster), Event::Init, 2);
        sources.apply((kind, Scope::Cluster), Event::InitDone, 2);
    }
    sources.broke_off((SourceKind::SecretProviderClass, Scope::Cluster));
    sources.pod_statuses_broke_off(Scope::Cluster);
    assert!(sources.is_listed(Scope::Cluster));
    let class = SourceName::new(SourceKind::SecretProviderClass, "vault").within("shop");
    assert!(sources.is_broken(&class) && !sources.is_broken(&id("db")));
}
