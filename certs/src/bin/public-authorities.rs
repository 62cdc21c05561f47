//! Prints the certificates of the public CAs that Mozilla trusts, PEM: the image has no system to take them from.

use pem::Pem;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

fn main() {
    let authorities: Vec<Pem> = TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|certificate| Pem::new("CERTIFICATE", certificate.as_ref()))
        .collect();
    print!("{}", pem::encode_many(&authorities));
}
