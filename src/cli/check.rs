//! `restamp check`.

use std::{io::Write, sync::Arc, time::Duration};

use clap::Args;

use super::{Failure, duration, policy::PolicyArgs, settings};
use crate::{check::Check, cluster::client, watcher::LEASE};

#[derive(Args)]
pub(super) struct CheckArgs {
    /// A Deployment of this installation, all of whose pods have to be ready. May be given again.
    #[arg(long, value_name = "NAME")]
    deployment: Vec<String>,
    /// A namespace whose workloads go through the webhook. Nothing is created there.
    #[arg(short, long)]
    namespace: Option<String>,
    /// For how long to wait for each.
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    policy: PolicyArgs,
}

pub(super) async fn run(args: CheckArgs, home: String) -> Result<(), Failure> {
    let auto = settings(&args.policy).keys.auto;
    let ready = args.deployment.into_iter().map(|deployment| Check::Ready {
        namespace: home.clone(),
        deployment,
    });
    let leads = Check::Leads {
        namespace: home.clone(),
        lease: LEASE,
    };
    let stamped = args
        .namespace
        .map(|namespace| Check::Stamped { namespace, auto });
    let checks: Vec<_> = ready.chain([leads]).chain(stamped).collect();
    let client = client::connect(Arc::new(|_| ())).await?;
    let mut failed = 0;
    for check in &checks {
        let (word, said) = match check.until(&client, args.timeout).await {
            Ok(said) => ("ok", said),
            Err(why) => {
                failed += 1;
                ("FAILED", why)
            }
        };
        writeln!(std::io::stdout(), "{word}: {said}")?;
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} of {} checks failed", checks.len()).into()),
    }
}
