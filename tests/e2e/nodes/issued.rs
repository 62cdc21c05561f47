//! Certificates by cert-manager where kubelets mount them, and the moves from and to it, by the commands of
//! docs/certificates.md.

use super::{release::Release, stream::Stream};
use crate::{
    certificates::{
        cert_manager::CertManager,
        documented::{CERTIFICATES, Repository, commands},
    },
    support::{Ground, Shop},
};

pub async fn cert_manager_renews_and_makes_room(ground: &Ground) {
    let test = "certificates by cert-manager on real nodes";
    let Some(cert_manager) = CertManager::beside(ground, test).await else {
        return;
    };
    let clone = Repository::copied();
    let apply = "kubectl apply -k manifests/cert-manager";
    clone.run(ground, apply).await;
    cert_manager.until_ready().await;
    let release = Release::of_manifests(ground).await;
    release.until_rolled_out().await;
    release.until_webhook_is_called().await;
    let shop = Shop::injected_on(ground, "issued").await;
    shop.set_password("one").await;
    shop.set_config_map("app", &[]).await;

    let (pods, served) = (release.restarts().await, release.served().await);
    let renewal = async {
        cert_manager.renew("restamp-webhook").await;
        release.until_served(served + 2).await;
    };
    let stream = Stream::during(&shop, "cert-manager-renews", renewal).await;
    stream.assert_all_stamped();
    assert_eq!(release.restarts().await, pods, "no pod is another one");

    let [there, clean_up] = commands(CERTIFICATES, "## From cert-manager to self-managed");
    let move_there = async {
        clone.run(ground, &there).await;
        release.until_rolled_out().await;
        clone.run(ground, &clean_up).await;
    };
    let stream = Stream::during(&shop, "to-self-managed", move_there).await;
    stream.assert_all_stamped();

    let [back, clean_up] = commands(CERTIFICATES, "## From self-managed to cert-manager");
    clone.run(ground, &back).await;
    clone.run(ground, &clean_up).await;
    release.until_rolled_out().await;
    release.until_webhook_is_called().await;
}
