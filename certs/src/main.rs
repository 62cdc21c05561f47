//! Makes a CA and a serving certificate for development.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use restamp_dev_certs::{Authority, Error, Validity, WEBHOOK_HOSTS};

const SERVING_DAYS: i64 = 90;

/// A CA and a serving certificate for development.
///
/// Writes ca.crt, ca.key, tls.crt and tls.key. A CA that is there already is kept, so that whoever
/// trusts it need not be told anew; the serving certificate is renewed.
#[derive(Parser)]
#[command(name = "restamp-dev-certs", version)]
struct Cli {
    /// The folder of the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A DNS name or IP address of the server, once for each
    #[arg(long = "host", value_name = "NAME_OR_IP", default_values_t = WEBHOOK_HOSTS.map(str::to_owned))]
    hosts: Vec<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match renew(&cli) {
        Ok(()) => {
            let (dir, hosts) = (cli.out.display(), cli.hosts.join(", "));
            println!("{dir}: tls.crt and tls.key for {hosts}; trust ca.crt");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn renew(cli: &Cli) -> Result<(), Error> {
    let authority = Authority::open(&cli.out)?;
    let identity = authority.server(&cli.hosts, Validity::for_days(SERVING_DAYS))?;
    identity.write(&cli.out, "tls")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["restamp-dev-certs", "--out", "x"]);
        assert_eq!(cli.hosts, WEBHOOK_HOSTS);
        let one = [
            "restamp-dev-certs",
            "--out",
            "x",
            "--host",
            "a",
            "--host",
            "::1",
        ];
        assert_eq!(Cli::parse_from(one).hosts, ["a", "::1"]);
    }

    #[test]
    fn a_second_run_renews_the_serving_certificate_alone() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let all = || ["ca.crt", "ca.key", "tls.crt", "tls.key"].map(read);
        let cli = Cli::parse_from(["x", "--out", dir.path().to_str().unwrap()]);
        renew(&cli).unwrap();
        let first = all();
        renew(&cli).unwrap();
        let second = all();
        assert_eq!(first[..2], second[..2]);
        assert_ne!(first[2], second[2]);
        assert_ne!(first[3], second[3]);
    }
}
