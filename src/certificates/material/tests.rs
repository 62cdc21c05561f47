use super::*;
use crate::certificates::{
    Times,
    authority::{self, Identity},
};

const NOW: &str = "2026-06-01T00:00:00Z";
const HOSTS: [&str; 4] = [
    "webhook.home.svc",
    "webhook.home.svc.cluster.local",
    "192.0.2.1",
    "2001:db8::1",
];

fn made() -> Identity {
    let now = NOW.parse().unwrap();
    authority::make(Times::default().life_of_authority(now)).unwrap()
}

fn issued(by: &Identity, hosts: &[&str]) -> Identity {
    let now = NOW.parse().unwrap();
    let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    authority::issue(&by.key, &hosts, Times::default().life_of_serving(now)).unwrap()
}

fn authority_of(identity: &Identity) -> Option<Authority> {
    authority(identity.certificate.as_bytes(), identity.key.as_bytes())
}

fn serving_of(identity: &Identity) -> Option<Serving> {
    serving(identity.certificate.as_bytes(), identity.key.as_bytes())
}

fn trusting(identities: &[&Identity]) -> Certificates {
    let pem: String = identities.iter().map(|it| &*it.certificate).collect();
    certificates(pem.as_bytes())
}

fn half(text: &str) -> &str {
    text.split_at(text.len() / 2).0
}

#[test]
fn a_server_is_taken_for_what_its_ca_says_it_is() {
    let (ours, other) = (made(), made());
    let serving = serving_of(&issued(&ours, &HOSTS)).unwrap();
    for host in HOSTS {
        assert!(is_for(&serving, host), "{host}");
    }
    for host in ["webhook", "webhook.away.svc", "192.0.2.2", "", "a b"] {
        assert!(!is_for(&serving, host), "{host}");
    }
    // They have the same name, so only the signature tells them apart.
    for (trusted, expected) in [
        (&[&ours][..], true),
        (&[&ours, &other], true),
        (&[&other, &ours], true),
        (&[&other], false),
        (&[], false),
    ] {
        assert_eq!(has_signed(&trusting(trusted), &serving), expected);
    }
    let by_itself = serving_of(&ours).unwrap();
    assert!(!has_signed(&trusting(&[&other]), &by_itself));
}

#[test]
fn lives_are_as_promised() {
    let ours = made();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let since = at("2026-05-31T00:00:00Z");
    let expected = |until: &str| Life {
        from: since,
        until: at(until),
    };
    let authority = authority_of(&ours).unwrap();
    assert_eq!(authority.life, expected("2036-05-29T00:00:00Z"));
    let serving = serving_of(&issued(&ours, &HOSTS)).unwrap();
    assert_eq!(serving.life, expected("2026-08-30T00:00:00Z"));
    assert!(serving.life.includes(at(NOW)) && serving.life.includes(since));
    assert!(!serving.life.includes(at("2026-05-30T23:59:59Z")));
    assert!(!serving.life.includes(at("2026-08-30T00:00:01Z")));
}

#[test]
fn what_is_damaged_is_nothing() {
    let (ours, other) = (made(), made());
    let leaf = issued(&ours, &HOSTS);
    let half = |text: &str| half(text).to_owned();
    let with = |certificate: &str, key: &str| Identity {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    assert!(authority_of(&ours).is_some() && serving_of(&leaf).is_some());
    assert!(authority_of(&leaf).is_none(), "it is no CA");
    for damaged in [
        with(&ours.certificate, &other.key),
        with(&half(&ours.certificate), &ours.key),
        with(&ours.certificate, &half(&ours.key)),
        with(&ours.key, &ours.certificate),
        with("", ""),
    ] {
        assert!(authority_of(&damaged).is_none());
        assert!(serving_of(&damaged).is_none());
    }
    let bad_key = authority::issue(
        "",
        &[],
        Times::default().life_of_serving(NOW.parse().unwrap()),
    );
    assert!(bad_key.is_err());
}

#[test]
fn pem_is_read_as_it_is_written_and_what_is_none_is_left_out() {
    let both = trusting(&[&made(), &made()]);
    assert_eq!(both.len(), 2);
    assert_eq!(certificates(pem(&both).as_bytes()), both);
    let one = made();
    assert_eq!(
        pem(&trusting(&[&one])),
        one.certificate.replace("\r\n", "\n")
    );
    let key = &one.key;
    let torn = half(&one.certificate);
    let no_x509 = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let mixed = format!("text\n{no_x509}{key}{}{torn}", pem(&both));
    assert_eq!(certificates(mixed.as_bytes()), both);
    assert_eq!(pem(&Certificates::new()), "");
}

#[test]
fn keys_are_not_shown() {
    let ours = made();
    assert_eq!(format!("{ours:?}"), "Identity");
}
