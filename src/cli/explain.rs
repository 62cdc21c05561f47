//! `restamp explain`.

use std::{io::Write, sync::Arc};

use clap::Args;

use super::{Failure, policy::PolicyArgs, sensible, settings};
use crate::{
    cluster::{
        client,
        kind::{Kinds, WorkloadKind},
        workload::WorkloadId,
    },
    explain::{self, Output},
    runtime::ambient::Ambient,
};

#[derive(Args)]
pub(super) struct ExplainArgs {
    /// Which workload, such as deployment/shop.
    #[arg(value_name = "KIND/NAME")]
    workload: String,
    /// Its namespace; that of the kubeconfig's context if not given.
    #[arg(short, long)]
    namespace: Option<String>,
    /// For people or for programs.
    #[arg(short, long, default_value = "text")]
    output: Output,
    #[command(flatten)]
    policy: PolicyArgs,
}

pub(super) async fn run(args: ExplainArgs, restamp_namespace: &str) -> Result<(), Failure> {
    let ExplainArgs {
        workload: text,
        namespace,
        output,
        policy,
    } = args;
    let (kind, name) = sensible(workload(&text, &policy.kinds()));
    let policy = settings(&policy);
    let client = client::connect(Arc::new(|_| ())).await?;
    let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let id = WorkloadId {
        kind,
        namespace: namespace.into(),
        name: name.into(),
    };
    let report = explain::explain(
        &client,
        &id,
        restamp_namespace,
        &policy,
        (Ambient::default().now)(),
    )
    .await?;
    std::io::stdout().write_all(output.render(&report)?.as_bytes())?;
    Ok(())
}

/// Reads `deployment/shop`.
fn workload(text: &str, kinds: &Kinds) -> Result<(&'static WorkloadKind, String), String> {
    let (kind, name) = text
        .split_once('/')
        .filter(|(_, name)| !name.is_empty() && !name.contains('/'))
        .ok_or("write it as KIND/NAME, such as deployment/shop")?;
    let kind = kinds.find(kind).ok_or_else(|| {
        let known: Vec<_> = kinds.iter().map(WorkloadKind::resource).collect();
        let known = known.join(", ");
        format!("there is no workload kind {kind:?}; there are {known}")
    })?;
    Ok((kind, name.to_owned()))
}
