//! Properties: whatever bytes come, there is an answer, and it harms nobody.

use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::{
    Webhook,
    api_server::{patched, review},
    reviews::{shop, web},
};

fn on_a_clock_that_jumps() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

/// Sends the bytes. The patch, if there is one, has to fit the object in them.
fn expect_an_answer(
    runtime: &Runtime,
    webhook: &Webhook,
    body: &[u8],
) -> Result<u16, TestCaseError> {
    let review: Value = serde_json::from_slice(body).unwrap_or_default();
    let request = &review["request"];
    // The API server that is asked in turn has no path for other namespaces.
    let namespace = request["namespace"].as_str().unwrap_or("shop");
    prop_assume!(namespace.chars().all(char::is_alphanumeric));
    let answer = runtime.block_on(webhook.post(body.to_vec()));
    match answer.status {
        400 => prop_assert!(!answer.text().is_empty()),
        200 => {
            let response = answer.response();
            // A number may be too large for this test alone.
            if request.is_object() {
                prop_assert_eq!(&response["uid"], &request["uid"]);
                patched(&request["object"], &response);
            }
        }
        status => prop_assert!(false, "{status}"),
    }
    Ok(answer.status)
}

fn property<S: Strategy>(
    strategy: &S,
    test: impl Fn(&Runtime, &Webhook, S::Value) -> Result<(), TestCaseError>,
) {
    let runtime = on_a_clock_that_jumps();
    let (_, webhook) = runtime.block_on(shop());
    TestRunner::default()
        .run(strategy, |value| test(&runtime, &webhook, value))
        .unwrap();
}

#[test]
fn arbitrary_bytes_are_refused() {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    property(&bytes, |runtime, webhook, bytes| {
        prop_assert_eq!(expect_an_answer(runtime, webhook, &bytes)?, 400);
        Ok(())
    });
}

/// What happens to bytes on a bad day.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Repeat(Index, u8),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let end = |at: usize, length: u8, bytes: &[u8]| (at + usize::from(length)).min(bytes.len());
        let place = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match self {
            Mutation::Flip(index, bits) if !bytes.is_empty() => {
                let at = index.index(bytes.len());
                bytes[at] ^= bits;
            }
            Mutation::Flip(..) => {}
            Mutation::Cut(index) => bytes.truncate(place(index, bytes)),
            Mutation::Insert(index, more) => {
                let at = place(index, bytes);
                bytes.splice(at..at, more.iter().copied());
            }
            Mutation::Remove(index, length) => {
                let at = place(index, bytes);
                bytes.drain(at..end(at, *length, bytes));
            }
            Mutation::Repeat(index, length) => {
                let at = place(index, bytes);
                let again = bytes[at..end(at, *length, bytes)].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let tokens: Vec<&[u8]> = vec![
        b"{", b"}", b"[", b"]", b",", b":", b"\"", b"null", b"\\u0000", b"\\ud800", b"1e999",
        b"\xff",
    ];
    let token = prop::sample::select(tokens).prop_map(<[u8]>::to_vec);
    prop_oneof![
        6 => (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        1 => any::<Index>().prop_map(Mutation::Cut),
        3 => (any::<Index>(), token).prop_map(|(at, token)| Mutation::Insert(at, token)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Mutation::Remove(at, length)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Mutation::Repeat(at, length)),
    ]
}

#[test]
fn a_damaged_review_is_refused_or_answered() {
    let mutations = prop::collection::vec(mutation(), 1..4);
    let stored = {
        let runtime = on_a_clock_that_jumps();
        let admitted = runtime.block_on(async { shop().await.1.admit(&web(), None).await });
        admitted.object
    };
    let good = [review(&web(), None), review(&web(), Some(&stored))].map(|it| it.to_string());
    let cases = (prop::sample::select(good.to_vec()), mutations);
    property(&cases, |runtime, webhook, (good, mutations)| {
        let mut bytes = good.into_bytes();
        mutations
            .iter()
            .for_each(|mutation| mutation.apply(&mut bytes));
        expect_an_answer(runtime, webhook, &bytes).map(|_| ())
    });
}
