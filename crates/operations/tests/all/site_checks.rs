//! The version of an environment's WordPress, and resets.

use std::time::Duration;

use accounts_domain::AuditAction;
use domain_kernel::{AccountId, ApiErrorCode, EnvironmentId, JobErrorCode, SiteId};
use jobs::Failure;
use nodes_domain::{RemoteOutput, SshError};
use sites_domain::{CreatedInSite, EnvironmentStatus, PreviewError, SiteStatus};
use test_support::{Fault, RuntimeMethod};

use crate::bench::Bench;

fn output(exit_status: i32, stdout: &str, stderr: &str) -> RemoteOutput {
    RemoteOutput {
        exit_status: Some(exit_status),
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
    }
}

/// What WP-CLI answers from now on.
fn answer(bench: &Bench, answer: RemoteOutput) {
    bench
        .ssh
        .answer(move |_, command| command.script.contains("wp-cli.phar --path").then(|| answer.clone()));
}

#[tokio::test]
async fn the_version_is_asked_on_the_node_by_one_command_of_10_s_and_stored_where_it_changed() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let before = bench.environment(site.environment_id);
    answer(&bench, output(0, "6.9.2\n", ""));
    let commands = bench.ssh.commands().len();
    let version = bench
        .sites
        .service
        .wordpress_version(site.environment_id)
        .await
        .unwrap();
    assert_eq!(version, "6.9.2");
    let after = bench.environment(site.environment_id);
    assert_eq!(after.wordpress_version.as_deref(), Some("6.9.2"));
    bench
        .sites
        .service
        .wordpress_version(site.environment_id)
        .await
        .unwrap();
    let version = bench.environment(site.environment_id).state_version;
    assert_eq!(version, before.state_version + 1, "the same again changes nothing");
    let commands = bench.ssh.commands().split_off(commands);
    assert_eq!(commands.len(), 2);
    let short = site.environment_id.short();
    assert!(
        commands[0].1.contains(&format!("runuser -u pl_{short} --")),
        "{}",
        commands[0].1
    );
    assert!(commands[0].1.contains(&format!("/{short}/current/live")));
}

#[tokio::test]
async fn an_answer_is_good_for_ten_minutes_unless_something_is_done_to_the_environment() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let service = &bench.sites.service;
    let was_asked = || service.was_version_asked(&bench.environment(site.environment_id));
    assert!(!was_asked());
    answer(&bench, output(1, "", "Error: broken"));
    service.wordpress_version(site.environment_id).await.unwrap_err();
    assert!(!was_asked());
    for version in ["6.9.2\n", "6.9.2\n", "6.9.3\n"] {
        answer(&bench, output(0, version, ""));
        service.wordpress_version(site.environment_id).await.unwrap();
        assert!(was_asked());
        bench.clock.advance(Duration::from_secs(599));
        assert!(was_asked());
        bench.clock.advance(Duration::from_secs(1));
        assert!(!was_asked());
    }
    service.wordpress_version(site.environment_id).await.unwrap();
    assert!(was_asked());
    let mut changed = bench.environment(site.environment_id);
    changed.state_version += 1;
    assert!(!service.was_version_asked(&changed));
}

#[tokio::test]
async fn a_version_that_cannot_be_had_is_an_error_of_its_own_kind() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let ask = async || {
        bench
            .sites
            .service
            .wordpress_version(site.environment_id)
            .await
            .unwrap_err()
    };
    answer(
        &bench,
        output(1, "", "Error: This does not seem to be a WordPress installation.\nmore"),
    );
    let refused = ask().await;
    assert_eq!(refused.code(), ApiErrorCode::WpCliError);
    assert!(
        refused.to_string().ends_with("seem to be a WordPress installation."),
        "{refused}"
    );
    answer(&bench, output(124, "", ""));
    assert!(ask().await.to_string().contains("10 s"));
    for text in ["", "<b>6.8</b>", "six", &"6".repeat(41)] {
        answer(&bench, output(0, text, ""));
        assert_eq!(ask().await.code(), ApiErrorCode::WpCliError, "{text}");
    }
    bench.ssh.next(SshError::Refused);
    assert_eq!(ask().await.code(), ApiErrorCode::NodeUnreachable);
    let unknown = bench.sites.service.wordpress_version(EnvironmentId::generate()).await;
    assert_eq!(unknown.unwrap_err().code(), ApiErrorCode::NotFound);
    assert_eq!(
        bench.environment(site.environment_id).wordpress_version.as_deref(),
        Some("6.8.1")
    );
}

/// A site whose creation failed after everything was there.
async fn failed_site() -> (Bench, CreatedInSite) {
    let bench = Bench::new();
    bench.active_node().await;
    let site = bench.asked_site("shop").await;
    let late = Fault::ActsThenFails(Failure::new(JobErrorCode::AnsibleTimeout, "too slow"));
    bench.sites.runtime.fail(RuntimeMethod::Create, 1, late);
    bench.run().await;
    assert_eq!(bench.standing(&site), (SiteStatus::Failed, EnvironmentStatus::Failed));
    (bench, site)
}

#[tokio::test]
async fn a_failed_site_that_works_is_active_after_its_reset() {
    let (bench, site) = failed_site().await;
    let by = AccountId::generate();
    let reset = bench.sites.service.reset_site(site.site_id, Some(by)).await.unwrap();
    assert_eq!(reset.status, SiteStatus::Active);
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
    let noted = (AuditAction::Reset, site.environment_id.to_string(), by);
    assert_eq!(bench.sites.rows.audited(), [noted]);
    let (_, script) = bench.ssh.commands().pop().unwrap();
    assert!(
        script.contains("core is-installed") && script.contains("$wpdb->get_var"),
        "{script}"
    );
    let again = bench.sites.service.reset_site(site.site_id, None).await;
    assert_eq!(again.unwrap_err().code(), ApiErrorCode::ResourceNotFailed);
}

#[tokio::test]
async fn a_reset_of_the_production_environment_makes_its_site_active_too() {
    let (bench, site) = failed_site().await;
    let reset = bench
        .sites
        .service
        .reset_environment(site.environment_id, None)
        .await
        .unwrap();
    assert_eq!(reset.status, EnvironmentStatus::Active);
    assert_eq!(bench.site(site.site_id).status, SiteStatus::Active);
    let again = bench.sites.service.reset_environment(site.environment_id, None).await;
    assert_eq!(again.unwrap_err().code(), ApiErrorCode::ResourceNotFailed);
}

#[tokio::test]
async fn what_does_not_work_is_not_reset_and_the_check_that_failed_is_named() {
    let (bench, site) = failed_site().await;
    let ask = async |named: &str| {
        for refused in [
            bench.sites.service.reset_site(site.site_id, None).await.map(|_| ()),
            bench
                .sites
                .service
                .reset_environment(site.environment_id, None)
                .await
                .map(|_| ()),
        ] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), ApiErrorCode::ResetValidationFailed);
            assert!(refused.to_string().contains(named), "{refused}");
        }
        assert_eq!(bench.standing(&site), (SiteStatus::Failed, EnvironmentStatus::Failed));
    };
    bench.sites.preview.always(Some(PreviewError::NoProof));
    ask("the proof of its preview").await;
    bench.sites.preview.always(None);
    answer(&bench, output(10, "", ""));
    ask("`wp core is-installed`").await;
    answer(&bench, output(11, "", "Error establishing a database connection"));
    ask("a query of its database: Error establishing").await;
    answer(&bench, output(255, "", "PHP Fatal error"));
    ask("WP-CLI: PHP Fatal error").await;
    bench.ssh.always(Some(SshError::TimedOut(Duration::from_secs(10))));
    ask("its node").await;
    let unknown = bench.sites.service.reset_site(SiteId::generate(), None).await;
    assert_eq!(unknown.unwrap_err().code(), ApiErrorCode::NotFound);
}

#[tokio::test]
async fn a_look_that_does_not_end_is_answered_after_10_s() {
    let (bench, site) = failed_site().await;
    let mut ask = std::pin::pin!(bench.sites.service.reset_site(site.site_id, None));
    bench.probe.always(None);
    let begin = bench.clock.sleeps().len();
    while bench.clock.sleeps().len() == begin {
        assert!(futures_util::poll!(&mut ask).is_pending());
    }
    bench.clock.advance(Duration::from_secs(10));
    let refused = bench.to_the_end(ask).await.unwrap_err();
    assert!(
        refused.to_string().contains("10 s") || refused.to_string().contains("no answer"),
        "{refused}"
    );
}
