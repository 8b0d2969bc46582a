//! Asking for sites: which node they come to, what is written, and what is refused.

use std::time::Duration;

use accounts_domain::{AuditAction, SealedSecret, SecretBox};
use domain_kernel::{AccountId, ApiErrorCode, NodeId};
use jobs::{JobKind, JobStatus, PageRequest};
use nodes_domain::{Idempotency, NodeStatus, ReasonCode, SshError};
use operations::{CreateSite, SiteDeps, SitesService, UseCaseError};
use sites_domain::{EnvironmentSecrets, EnvironmentStatus, EnvironmentType, SiteFilter, SiteStatus};
use test_support::FakeSecretBox;

use crate::bench::Bench;
use crate::site_bench::site_request;

fn key(hash: &str, account: AccountId) -> Option<Idempotency> {
    Some(Idempotency {
        account_id: account,
        key: "once".to_owned(),
        request_hash: hash.to_owned(),
    })
}

#[tokio::test]
async fn a_site_is_written_with_its_production_environment_and_its_job() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    let wakes = bench.signal.wakes();
    let by = Some(AccountId::generate());
    let request = site_request("shop");
    let created = bench.sites.service.create_site(request, None, by).await.unwrap();
    let site = bench.site(created.site_id);
    assert_eq!((site.status, site.slug.as_str()), (SiteStatus::Creating, "shop"));
    assert_eq!(site.primary_environment_id, created.environment_id);
    let environment = bench.environment(created.environment_id);
    assert_eq!(environment.status, EnvironmentStatus::Creating);
    assert_eq!(environment.environment_type, EnvironmentType::Production);
    assert_eq!(
        (environment.slug.as_str(), environment.node_id),
        ("production", node_id)
    );
    let url = format!("http://{}.192-0-2-2.sslip.io", environment.short_id);
    assert_eq!(environment.preview_url, url);
    let job = bench.job(created.job_id);
    assert_eq!((job.kind, job.status), (JobKind::SiteCreate, JobStatus::Queued));
    assert_eq!((job.site_id, job.node_id), (Some(site.id), Some(node_id)));
    assert_eq!(job.requested_by, by);
    assert_eq!(bench.signal.wakes(), wakes + 1);
    assert_eq!(bench.jobs_service.metrics().await.unwrap().sites_total, 1);
    let page = PageRequest { limit: 10, after: None };
    assert_eq!(
        bench
            .sites
            .service
            .sites(&SiteFilter::default(), &page)
            .await
            .unwrap()
            .items,
        [site]
    );
    let all = bench.sites.service.environments(created.site_id).await.unwrap();
    assert_eq!(all, [environment]);
}

#[tokio::test]
async fn a_preview_is_under_the_operators_domain_where_there_is_one() {
    let bench = Bench::new();
    bench.active_node().await;
    let service = SitesService::new(SiteDeps {
        preview_domain: Some("preview.example.test".to_owned()),
        ..bench.sites.deps.clone()
    });
    let created = service.create_site(site_request("shop"), None, None).await.unwrap();
    let environment = bench.environment(created.environment_id);
    let url = format!("http://{}.preview.example.test", environment.short_id);
    assert_eq!(environment.preview_url, url);
}

#[tokio::test]
async fn without_a_named_node_the_ready_one_with_the_fewest_environments_is_taken() {
    let bench = Bench::new();
    let (first, second) = (bench.active_node().await, bench.active_node().await);
    let mut taken = Vec::new();
    for slug in ["one", "two", "three", "four"] {
        taken.push(bench.node_of(bench.asked_site(slug).await.environment_id));
    }
    assert_eq!(taken, [first, second, first, second]);
}

#[tokio::test]
async fn a_node_that_was_ready_long_ago_is_looked_at_and_passed_over_where_it_is_not_any_more() {
    let bench = Bench::new();
    let (first, second) = (bench.active_node().await, bench.active_node().await);
    let looks = bench.probe.probed().len();
    bench.clock.advance(Duration::from_secs(30));
    bench.asked_site("fresh").await;
    assert_eq!(bench.probe.probed().len(), looks, "30 s old is new enough");
    bench.clock.advance(Duration::from_secs(1));
    bench.machines.change(second, |machine| machine.provisioned = false);
    let created = bench.asked_site("shop").await;
    assert_eq!(bench.node_of(created.environment_id), first);
    assert_eq!(bench.probe.probed()[looks..], [second, first]);
}

#[tokio::test]
async fn without_any_ready_node_a_site_is_refused() {
    let bench = Bench::new();
    let refused = bench.sites.service.create_site(site_request("shop"), None, None).await;
    assert_eq!(refused.unwrap_err().code(), ApiErrorCode::NoNodeAvailable);
    let (_, _) = bench.asked().await;
    let refused = bench.sites.service.create_site(site_request("shop"), None, None).await;
    assert_eq!(
        refused.unwrap_err().code(),
        ApiErrorCode::NoNodeAvailable,
        "one is provisioned"
    );
}

#[tokio::test]
async fn a_named_node_that_is_not_ready_is_refused_with_every_reason_and_an_unknown_one_is_not_found() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    bench.clock.advance(Duration::from_secs(31));
    let on = |node_id| CreateSite {
        node_id: Some(node_id),
        ..site_request("shop")
    };
    bench.probe.next(SshError::AuthRejected);
    let refused = bench
        .sites
        .service
        .create_site(on(node_id), None, None)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::NodeNotReady);
    let UseCaseError::NodeNotReady { reasons, .. } = refused else {
        panic!("{refused}");
    };
    let codes: Vec<_> = reasons.iter().map(|reason| reason.reason_code).collect();
    assert!(codes.contains(&ReasonCode::SshAuthRejected), "{codes:?}");
    assert_eq!(bench.node(node_id).status, NodeStatus::Unreachable);
    let refused = bench
        .sites
        .service
        .create_site(on(node_id), None, None)
        .await
        .unwrap_err();
    let UseCaseError::NodeNotReady { reasons, .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!(reasons[0].reason_code, ReasonCode::NodeStatusNotActive);
    let refused = bench
        .sites
        .service
        .create_site(on(NodeId::generate()), None, None)
        .await;
    assert_eq!(refused.unwrap_err().code(), ApiErrorCode::NotFound);
    assert!(bench.sites.rows.find_site(domain_kernel::SiteId::generate()).is_none());
}

#[tokio::test]
async fn a_slug_that_is_taken_and_a_text_that_is_no_address_are_refused() {
    let bench = Bench::new();
    bench.active_node().await;
    bench.asked_site("shop").await;
    let refused = bench.sites.service.create_site(site_request("shop"), None, None).await;
    assert_eq!(refused.unwrap_err().code(), ApiErrorCode::Conflict);
    let request = CreateSite {
        admin_email: "nobody".to_owned(),
        ..site_request("other")
    };
    let refused = bench.sites.service.create_site(request, None, None).await;
    assert_eq!(refused.unwrap_err().code(), ApiErrorCode::BadRequest);
}

#[tokio::test]
async fn the_same_request_under_the_same_key_is_answered_with_what_it_made_even_where_it_would_be_refused_now() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    let account = AccountId::generate();
    let ask = async |hash: &str| {
        let request = site_request("shop");
        bench.sites.service.create_site(request, key(hash, account), None).await
    };
    let first = ask("a").await.unwrap();
    bench.machines.remove(node_id);
    bench.clock.advance(Duration::from_secs(31));
    let again = ask("a").await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!((again.site_id, again.job_id), (first.site_id, first.job_id));
    let other = ask("b").await.unwrap_err();
    assert!(other.to_string().contains("Idempotency-Key"), "{other}");
    let refused = bench.sites.service.create_site(site_request("x"), None, None).await;
    assert_eq!(refused.unwrap_err().code(), ApiErrorCode::NoNodeAvailable);
}

#[tokio::test]
async fn an_environments_secrets_are_its_own_sealed_for_its_row_and_its_login_is_shown_and_noted() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let staging = bench.active_staging(&site).await;
    let rows = &bench.sites.deps.sites;
    let mut opened = Vec::new();
    for id in [site.environment_id, staging.environment_id] {
        let sealed = SealedSecret::from_stored(rows.sealed_secrets(id).await.unwrap().unwrap());
        let plain = FakeSecretBox.open(&sealed, &EnvironmentSecrets::row(id)).unwrap();
        opened.push(EnvironmentSecrets::from_plain(&plain).unwrap());
    }
    assert_eq!(opened[0].admin_email, "me@example.test");
    assert_eq!(
        opened[0].admin_password, opened[1].admin_password,
        "the copy's users are the source's"
    );
    assert_ne!(opened[0].database_password, opened[1].database_password);
    assert_ne!(opened[0].proof_secret, opened[1].proof_secret);
    assert_ne!(opened[0].salts, opened[1].salts);

    let by = AccountId::generate();
    let login = bench
        .sites
        .service
        .wordpress_login(site.environment_id, by)
        .await
        .unwrap();
    assert_eq!(login.user, "admin");
    assert_eq!(login.password, opened[0].admin_password);
    let url = bench.environment(site.environment_id).preview_url;
    assert_eq!(login.url, format!("{url}/wp-login.php"));
    let noted = (AuditAction::LoginShown, site.environment_id.to_string(), by);
    assert_eq!(bench.sites.rows.audited(), [noted]);
    assert!(!format!("{login:?}").contains(login.password.expose()));
}

#[tokio::test]
async fn a_source_of_tokens_that_are_no_secrets_makes_no_site() {
    struct Weak;
    impl accounts_domain::TokenSource for Weak {
        fn generate(&self) -> Result<accounts_domain::SessionToken, accounts_domain::HashError> {
            Ok(accounts_domain::SessionToken(domain_kernel::Secret::new("short")))
        }

        fn hash(&self, _token: &accounts_domain::SessionToken) -> accounts_domain::TokenHash {
            accounts_domain::TokenHash(String::new())
        }
    }
    let bench = Bench::new();
    bench.active_node().await;
    let service = SitesService::new(SiteDeps {
        tokens: std::sync::Arc::new(Weak),
        ..bench.sites.deps.clone()
    });
    let refused = service.create_site(site_request("shop"), None, None).await;
    assert_eq!(refused.unwrap_err().code(), ApiErrorCode::Internal);
}
