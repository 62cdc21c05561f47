//! What to do next. Pure: what there is goes in, one step comes out, with a reason.
//!
//! Nothing about a rotation is remembered but what the Secrets and the `caBundle` hold themselves, and how long this
//! process has seen them so, by a clock that nobody can set. Whoever leads can go on from any point, and one who
//! has just begun to look waits a little longer than he would have to.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::{Life, Times, earlier, until};

/// All that the next step depends on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The wall clock.
    pub now: Timestamp,
    /// The CA that signs; nothing if there is none, or not with its key.
    pub authority: Option<Life>,
    /// Whether CAs of before are still to be trusted.
    pub overlaps: bool,
    /// For how long the `caBundle` has been seen to hold just these CAs; nothing if it does not.
    pub published: Option<Duration>,
    /// What is served; nothing if there is none, or not with its key.
    pub serving: Option<Serving>,
}

/// The serving certificate, as far as the next step depends on it.
#[derive(Clone, Debug)]
pub struct Serving {
    /// When it is valid.
    pub life: Life,
    /// Who signed it.
    pub issuer: Issuer,
    /// Whether it is for every host under which the API server calls the webhook.
    pub fits: bool,
    /// For how long it has been seen to be the one.
    pub seen: Duration,
}

/// Who signed a serving certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// The CA that signs now.
    Authority,
    /// A CA of before that is still trusted.
    Before,
    /// Somebody else.
    Unknown,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a new CA, and go on trusting all that are trusted.
    MakeAuthority,
    /// Have the API server trust the CAs, and no others.
    Publish,
    /// Have the CA sign a new serving certificate.
    Issue,
    /// No longer trust the CAs of before.
    Retire,
    /// Nothing. Look again after this time, if nothing happens before.
    Wait(Duration),
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no CA that could sign.
    NoAuthority,
    /// The CA is not valid now.
    AuthorityNotValid,
    /// Two thirds of the CA's life are over.
    AuthorityDue,
    /// The `caBundle` is not what it has to be.
    BundleDiffers,
    /// There is nothing to serve.
    NoCertificate,
    /// The serving certificate is not valid now.
    CertificateNotValid,
    /// The webhook is called under a host that the serving certificate is not for.
    OtherHosts,
    /// Nobody who is trusted has signed the serving certificate.
    UnknownIssuer,
    /// A new CA has taken the place of the one that signed the serving certificate.
    AuthorityChanged,
    /// Two thirds of the serving certificate's life are over.
    CertificateDue,
    /// Some API server may not know the new CA yet.
    Publishing,
    /// Some replica of the webhook may still serve the certificate of before.
    Adopting,
    /// Every replica of the webhook serves a certificate of the new CA.
    Adopted,
    /// All is as it has to be.
    Current,
}

impl Reason {
    /// The label of metrics, and the word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NoAuthority => "NoAuthority",
            Reason::AuthorityNotValid => "AuthorityNotValid",
            Reason::AuthorityDue => "AuthorityDue",
            Reason::BundleDiffers => "BundleDiffers",
            Reason::NoCertificate => "NoCertificate",
            Reason::CertificateNotValid => "CertificateNotValid",
            Reason::OtherHosts => "OtherHosts",
            Reason::UnknownIssuer => "UnknownIssuer",
            Reason::AuthorityChanged => "AuthorityChanged",
            Reason::CertificateDue => "CertificateDue",
            Reason::Publishing => "Publishing",
            Reason::Adopting => "Adopting",
            Reason::Adopted => "Adopted",
            Reason::Current => "Current",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The next step.
///
/// Trust comes first and goes last: a CA signs nothing before every API server can have taken it in, unless no other is
/// trusted that replicas could be serving by; and no CA goes before every replica can have taken in what
/// another one signed.
pub fn next(facts: &Facts, times: &Times) -> (Step, Reason) {
    let Facts { now, overlaps, .. } = *facts;
    let Some(authority) = facts.authority else {
        return (Step::MakeAuthority, Reason::NoAuthority);
    };
    if !authority.includes(now) {
        return (Step::MakeAuthority, Reason::AuthorityNotValid);
    }
    let Some(published) = facts.published else {
        return (Step::Publish, Reason::BundleDiffers);
    };
    if !overlaps && is_due(authority, times.authority, now) {
        return (Step::MakeAuthority, Reason::AuthorityDue);
    }
    let unpublished = times.publish.saturating_sub(published);
    if let Some(reason) = why_issue(facts, times) {
        return if overlaps && !unpublished.is_zero() {
            (Step::Wait(unpublished), Reason::Publishing)
        } else {
            (Step::Issue, reason)
        };
    }
    if overlaps {
        let seen = facts.serving.as_ref().map(|serving| serving.seen);
        let unadopted = times.adopt.saturating_sub(seen.unwrap_or_default());
        return if unadopted.is_zero() {
            (Step::Retire, Reason::Adopted)
        } else {
            (Step::Wait(unadopted), Reason::Adopting)
        };
    }
    let dues = [
        Some(due(authority, times.authority)),
        facts
            .serving
            .as_ref()
            .map(|serving| due(serving.life, times.serving)),
    ];
    let first = dues.into_iter().flatten().min().unwrap_or(now);
    (Step::Wait(until(now, first)), Reason::Current)
}

/// Why there has to be a new serving certificate, if there has to be one.
fn why_issue(facts: &Facts, times: &Times) -> Option<Reason> {
    let Some(serving) = &facts.serving else {
        return Some(Reason::NoCertificate);
    };
    match serving.issuer {
        Issuer::Unknown => Some(Reason::UnknownIssuer),
        _ if !serving.life.includes(facts.now) => Some(Reason::CertificateNotValid),
        _ if !serving.fits => Some(Reason::OtherHosts),
        Issuer::Before => Some(Reason::AuthorityChanged),
        Issuer::Authority => {
            is_due(serving.life, times.serving, facts.now).then_some(Reason::CertificateDue)
        }
    }
}

/// When something is to be replaced that lasts so long.
fn due(life: Life, lasts: Duration) -> Timestamp {
    earlier(life.until, lasts / 3)
}

fn is_due(life: Life, lasts: Duration, now: Timestamp) -> bool {
    now >= due(life, lasts)
}

#[cfg(test)]
mod tests;
