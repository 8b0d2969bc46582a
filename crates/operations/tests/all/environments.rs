//! Asking for copies of environments: what is written, and what is refused.

use std::time::Duration;

use domain_kernel::{AccountId, ApiErrorCode, EnvironmentId, SiteId};
use jobs::JobKind;
use nodes_domain::{Idempotency, SshError};
use operations::CreateEnv;
use sites_domain::{EnvironmentStatus, EnvironmentType, PromotionPreset, SiteStatus};

use crate::bench::Bench;
use crate::site_bench::staging_request;

#[tokio::test]
async fn a_copy_is_written_on_its_sources_node_and_the_site_is_cloning() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    bench.active_node().await;
    let request = CreateEnv {
        promotion_preset: Some(PromotionPreset::CommerceProtect),
        ..staging_request("staging", site.environment_id)
    };
    let created = bench
        .sites
        .service
        .create_environment(site.site_id, request, None, None)
        .await
        .unwrap();
    assert_eq!(
        bench.standing(&created),
        (SiteStatus::Cloning, EnvironmentStatus::Cloning)
    );
    let environment = bench.environment(created.environment_id);
    assert_eq!(environment.node_id, bench.node_of(site.environment_id));
    assert_eq!(environment.source_environment_id, Some(site.environment_id));
    assert_eq!(environment.promotion_preset, Some(PromotionPreset::CommerceProtect));
    assert_ne!(
        environment.preview_url,
        bench.environment(site.environment_id).preview_url
    );
    assert_eq!(bench.job(created.job_id).kind, JobKind::EnvCreate);
    assert_eq!(bench.environment(site.environment_id).status, EnvironmentStatus::Active);
}

#[tokio::test]
async fn what_cannot_be_copied_is_refused() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let other = bench.asked_site("other").await;
    let ask = async |site_id, request| {
        let asked = bench
            .sites
            .service
            .create_environment(site_id, request, None, None)
            .await;
        asked.unwrap_err().code()
    };
    let staging = |source| staging_request("staging", source);
    let production = CreateEnv {
        environment_type: EnvironmentType::Production,
        ..staging(site.environment_id)
    };
    assert_eq!(ask(site.site_id, production).await, ApiErrorCode::BadRequest);
    let foreign = staging(other.environment_id);
    assert_eq!(ask(site.site_id, foreign).await, ApiErrorCode::BadRequest);
    let unknown = staging(EnvironmentId::generate());
    assert_eq!(ask(site.site_id, unknown).await, ApiErrorCode::BadRequest);
    let nowhere = staging(site.environment_id);
    assert_eq!(ask(SiteId::generate(), nowhere).await, ApiErrorCode::NotFound);
    let creating = staging(other.environment_id);
    assert_eq!(ask(other.site_id, creating).await, ApiErrorCode::EnvironmentNotActive);
    let taken = staging_request("production", site.environment_id);
    assert_eq!(ask(site.site_id, taken).await, ApiErrorCode::Conflict);
    bench.clock.advance(Duration::from_secs(31));
    bench.probe.next(SshError::Refused);
    assert_eq!(
        ask(site.site_id, staging(site.environment_id)).await,
        ApiErrorCode::NodeNotReady
    );
    let first = staging(site.environment_id);
    bench
        .sites
        .service
        .create_environment(site.site_id, first, None, None)
        .await
        .unwrap();
    let second = staging_request("second", site.environment_id);
    assert_eq!(
        ask(site.site_id, second).await,
        ApiErrorCode::Conflict,
        "the site is cloning"
    );
}

#[tokio::test]
async fn the_same_copy_asked_for_again_under_the_same_key_is_the_same() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let account_id = AccountId::generate();
    let ask = async || {
        let key = Idempotency {
            account_id,
            key: "once".to_owned(),
            request_hash: "a".to_owned(),
        };
        let request = staging_request("staging", site.environment_id);
        bench
            .sites
            .service
            .create_environment(site.site_id, request, Some(key), None)
            .await
    };
    let (first, again) = (ask().await.unwrap(), ask().await.unwrap());
    assert!(again.replayed, "although the site is cloning by now");
    assert_eq!(again.environment_id, first.environment_id);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let bench = Bench::new();
    let service = &bench.sites.service;
    let code = |error: operations::UseCaseError| error.code();
    assert_eq!(
        service.site(SiteId::generate()).await.map_err(code),
        Err(ApiErrorCode::NotFound)
    );
    let environments = service.environments(SiteId::generate()).await.map_err(code);
    assert_eq!(environments, Err(ApiErrorCode::NotFound));
    let environment = service.environment(EnvironmentId::generate()).await.map_err(code);
    assert_eq!(environment, Err(ApiErrorCode::NotFound));
}
