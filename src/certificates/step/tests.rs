use super::*;

mod history;

const TIMES: Times = Times {
    authority: Duration::from_secs(9_000_000),
    serving: Duration::from_secs(90_000),
    publish: Duration::from_secs(60),
    adopt: Duration::from_secs(600),
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn from_to(from: i64, until: i64) -> Life {
    Life {
        from: at(from),
        until: at(until),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// All is well.
fn well() -> Facts {
    Facts {
        now: at(0),
        authority: Some(from_to(-10, 9_000_000)),
        overlaps: false,
        published: Some(seconds(0)),
        serving: Some(Serving {
            life: from_to(-10, 90_000),
            issuer: Issuer::Authority,
            fits: true,
            seen: seconds(0),
        }),
    }
}

fn change(mut facts: Facts, change: impl FnOnce(&mut Facts)) -> Facts {
    change(&mut facts);
    facts
}

fn with_serving(facts: Facts, serving: impl FnOnce(&mut Serving)) -> Facts {
    change(facts, |facts| serving(facts.serving.as_mut().unwrap()))
}

#[test]
fn one_thing_after_the_other_is_put_right() {
    use Reason as Why;
    let wait = |secs| Step::Wait(seconds(secs));
    let later = |secs| change(well(), |facts| facts.now = at(secs));
    let due_later = |secs| with_serving(later(secs), |it| it.life.until = at(secs + 90_000));
    let cases = [
        (well(), (wait(60_000), Why::Current)),
        (
            change(well(), |it| it.authority = None),
            (Step::MakeAuthority, Why::NoAuthority),
        ),
        (
            change(well(), |it| it.published = None),
            (Step::Publish, Why::BundleDiffers),
        ),
        (
            change(well(), |it| it.serving = None),
            (Step::Issue, Why::NoCertificate),
        ),
        (
            with_serving(well(), |it| it.fits = false),
            (Step::Issue, Why::OtherHosts),
        ),
        (
            with_serving(well(), |it| it.issuer = Issuer::Unknown),
            (Step::Issue, Why::UnknownIssuer),
        ),
        (later(59_999), (wait(1), Why::Current)),
        (later(60_000), (Step::Issue, Why::CertificateDue)),
        (later(90_001), (Step::Issue, Why::CertificateNotValid)),
        (later(-11), (Step::MakeAuthority, Why::AuthorityNotValid)),
        (due_later(5_999_999), (wait(1), Why::Current)),
        (
            due_later(6_000_000),
            (Step::MakeAuthority, Why::AuthorityDue),
        ),
        (
            later(9_000_001),
            (Step::MakeAuthority, Why::AuthorityNotValid),
        ),
    ];
    for (facts, expected) in cases {
        assert_eq!(next(&facts, &TIMES), expected, "{facts:?}");
    }
}

#[test]
fn a_new_ca_waits_for_everybody() {
    use Reason as Why;
    let wait = |secs| Step::Wait(seconds(secs));
    let overlapping = || change(well(), |facts| facts.overlaps = true);
    let published = |facts, secs| change(facts, |facts| facts.published = Some(seconds(secs)));
    let before = || with_serving(overlapping(), |it| it.issuer = Issuer::Before);
    let cases = [
        (published(before(), 0), (wait(60), Why::Publishing)),
        (published(before(), 59), (wait(1), Why::Publishing)),
        (
            published(before(), 60),
            (Step::Issue, Why::AuthorityChanged),
        ),
        (
            with_serving(overlapping(), |it| it.seen = seconds(599)),
            (wait(1), Why::Adopting),
        ),
        (
            with_serving(overlapping(), |it| it.seen = seconds(600)),
            (Step::Retire, Why::Adopted),
        ),
        // What goes wrong meanwhile waits for the API servers, too.
        (
            change(overlapping(), |it| it.serving = None),
            (wait(60), Why::Publishing),
        ),
        (
            with_serving(before(), |it| it.fits = false),
            (wait(60), Why::Publishing),
        ),
        (
            published(with_serving(before(), |it| it.fits = false), 60),
            (Step::Issue, Why::OtherHosts),
        ),
        (
            change(before(), |it| it.published = None),
            (Step::Publish, Why::BundleDiffers),
        ),
        // The rotation under way is finished first.
        (
            change(published(before(), 9), |it| it.now = at(6_000_000)),
            (wait(51), Why::Publishing),
        ),
    ];
    for (facts, expected) in cases {
        assert_eq!(next(&facts, &TIMES), expected, "{facts:?}");
    }
}

#[test]
fn the_times_leave_room_for_each_other() {
    let Times {
        authority,
        serving,
        publish,
        adopt,
    } = Times::default();
    assert!(serving < authority / 3, "a CA outlives what it signs");
    assert!(
        10 * (publish + adopt) < serving / 3,
        "a rotation ends before the next one is due"
    );
}
