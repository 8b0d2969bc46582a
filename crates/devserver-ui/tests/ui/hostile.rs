//! Values that are no friends: they are shown as text, everywhere.

use domain_kernel::{JobErrorCode, NodeId};
use jobs::{Failure, JobStore, LogStream, NewEvent, StepStatus, TaskProgress, TaskStatus};
use nodes_domain::{Capability, ProviderId, Unavailable};
use sites_domain::BackupScope;

use crate::panel::{Answer, Panel, key_line};

/// A tag, both quotes, a template's own marks, a mark that turns the direction of the text, and an entity.
const NASTY: &str = "\"'><script>alert(1)</script>{{ 7 * 7 }}{% raw %}\u{202e}\u{200f}&lt;";

/// The same, escaped.
const SHOWN: &str = "&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;{{ 7 * 7 }}{% raw %}\u{202e}\u{200f}&amp;lt;";

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[track_caller]
fn assert_harmless(answer: &Answer, times: usize) {
    assert_eq!(
        answer.body.matches("alert(1)").count(),
        answer.body.matches(SHOWN).count(),
        "{}",
        answer.body
    );
    assert!(answer.body.matches(SHOWN).count() >= times, "{}", answer.body);
    assert!(!answer.has("<script>"), "{}", answer.body);
}

#[tokio::test]
async fn a_hostile_login_is_shown_as_text() {
    let panel = Panel::new().await;
    let long = format!("{NASTY}{}", "x".repeat(200));
    let form = format!("email={}&password=x&next={}", encoded(&long), encoded(NASTY));
    let answer = panel.stranger("POST", "/login").form(&form).send().await;
    assert_eq!(answer.status, 401);
    assert_harmless(&answer, 1);
    let answer = panel
        .stranger("GET", &format!("/login?next={}", encoded(NASTY)))
        .send()
        .await;
    assert_harmless(&answer, 0);
}

#[tokio::test]
async fn hostile_names_lines_and_details_are_shown_as_text() {
    let panel = Panel::new().await;
    let (node, _) = panel.create_node(NASTY).await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel.jobs.step_detail(&claim, "acquire", NASTY).await.unwrap();
    panel.jobs.step_started(&claim, 1, NASTY).await.unwrap();
    panel
        .jobs
        .step_finished(&claim, NASTY, StepStatus::Succeeded, Some(NASTY))
        .await
        .unwrap();
    let task = TaskProgress {
        name: NASTY.to_owned(),
        status: TaskStatus::Failed,
        duration_ms: None,
        message: Some(NASTY.to_owned()),
    };
    panel.tell(&claim, NewEvent::task(NASTY, &task)).await;
    let long = format!("{NASTY}{}", "x".repeat(200));
    panel.tell(&claim, NewEvent::log(NASTY, LogStream::Stdout, &long)).await;
    let mut hostile = panel.nodes.get(node);
    hostile.provider = ProviderId::new(NASTY);
    hostile.target = Some(nodes_domain::NodeTarget {
        hostname: NASTY.to_owned(),
        public_ip: None,
        ssh_port: 22,
        ssh_user: NASTY.to_owned(),
        ssh_private_key_path: "key".into(),
        host_key: test_support::fake_host_key("x"),
    });
    panel.nodes.put(hostile);

    let page = panel.get("/nodes").await;
    assert_eq!(page.status, 200);
    assert_harmless(&page, 6);
    // What turns the direction of text does so within its own element only.
    page.assert_has(&[&format!("<h3><a href=\"/nodes/{node}\"><bdi>{SHOWN}</bdi></a></h3>")]);
    let page = panel.get(&format!("/nodes/{node}")).await;
    assert_harmless(&page, 6);
    page.assert_has(&[&format!("<h1><bdi>{SHOWN}</bdi></h1>")]);
    assert_harmless(&panel.get(&format!("/nodes/{node}?confirm=delete")).await, 2);
}

#[tokio::test]
async fn a_hostile_failure_and_a_hostile_obstacle_are_shown_as_text() {
    let panel = Panel::new().await;
    panel.failed_node("first", NASTY).await;
    panel.provider.set_capability(Capability::Unavailable(Unavailable {
        code: JobErrorCode::LocalProviderUnavailable,
        reason: format!("x {NASTY} `{NASTY}`"),
        remedy: format!("x {NASTY} `{NASTY}`"),
    }));
    assert_harmless(&panel.get("/nodes").await, 5);
}

#[tokio::test]
async fn a_hostile_remote_host_and_what_its_job_waits_for_are_shown_as_text() {
    let panel = Panel::new().await;
    let (node, _) = panel.create_remote("web-1.example.test").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 1, "inject_key").await.unwrap();
    let line = key_line().await;
    let detail = format!("{NASTY} `{NASTY}` {line} {NASTY}");
    panel.park(&claim, node, "inject_key", &detail).await;
    let mut hostile = panel.nodes.get(node);
    hostile.name = NASTY.parse().unwrap();
    hostile.target = Some(nodes_domain::NodeTarget {
        hostname: NASTY.to_owned(),
        public_ip: None,
        ssh_port: 22,
        ssh_user: NASTY.to_owned(),
        ssh_private_key_path: "key".into(),
        host_key: test_support::fake_host_key("x"),
    });
    panel.nodes.put(hostile);
    assert_harmless(&panel.get("/nodes").await, 6);
    assert_harmless(&panel.get(&format!("/nodes/{node}")).await, 6);
    assert_harmless(&panel.get(&format!("/nodes/{node}?confirm=delete")).await, 3);

    // The same with a form to pin a host key in the row.
    panel.clock.advance(std::time::Duration::from_secs(30));
    let claim = panel.claim().await;
    let failure = Failure::new(JobErrorCode::SshHostKeyMismatch, format!("{NASTY} {line} {NASTY}"));
    panel.fail(&claim, node, "acquire", failure).await;
    let page = panel.get(&format!("/nodes/{node}")).await;
    page.assert_has(&["/host-key\"", "class=\"command\""]);
    assert_harmless(&page, 6);
    let pin = format!("fingerprint={}", encoded(NASTY));
    let answer = panel.post(&format!("/nodes/{node}/host-key"), &pin).await;
    assert_eq!(answer.status, 400);
    assert_harmless(&answer, 6);
}

#[tokio::test]
async fn what_was_typed_wrongly_into_the_remote_form_comes_back_as_text() {
    let panel = Panel::new().await;
    let typed = encoded(NASTY);
    let form = format!(
        "acquisition_source=remote&name={typed}%07&hostname={typed}&ssh_user={typed}&ssh_port={typed}&public_ip={typed}\
         &host_key_fingerprint={typed}&form_key={typed}"
    );
    let answer = panel.post("/nodes", &form).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body.matches("aria-invalid").count(), 6);
    assert_harmless(&answer, 6);
    let answer = panel.post("/nodes", &format!("acquisition_source={typed}")).await;
    assert_eq!(answer.status, 400);
    assert_harmless(&answer, 0);
    assert!(panel.nodes.all().is_empty());
}

#[tokio::test]
async fn what_was_typed_wrongly_comes_back_as_text() {
    let panel = Panel::new().await;
    let name = format!("{NASTY}{}", "x".repeat(200));
    let form = format!(
        "acquisition_source=local&name={}&form_key={}",
        encoded(&name),
        encoded(NASTY)
    );
    let answer = panel.post("/nodes", &form).await;
    assert_eq!(answer.status, 400);
    assert_harmless(&answer, 1);
}

#[tokio::test]
async fn hostile_paths_are_not_repeated() {
    let panel = Panel::new().await;
    for path in [
        format!("/{}", encoded(NASTY)),
        format!("/nodes?cursor={}", encoded(NASTY)),
        format!("/nodes/{}", encoded(NASTY)),
        format!("/nodes/{}?confirm=delete", encoded(NASTY)),
        format!("/assets/{}", encoded(NASTY)),
    ] {
        let answer = panel.get(&path).await;
        assert!(answer.status >= 400, "{path}");
        assert!(!answer.has("alert(1)"), "{answer:?}");
    }
    assert!(NASTY.parse::<NodeId>().is_err());
}

#[tokio::test]
async fn a_hostile_site_and_what_is_known_of_it_are_shown_as_text() {
    let panel = Panel::new().await;
    let node = panel.ready_node(NASTY).await;
    let shop = panel.site_on(node, NASTY, "shop").await;
    let copy = panel.staging(shop, NASTY, "copy").await.environment_id;
    let mut hostile = panel.site_rows.find_environment(shop.environment).unwrap();
    hostile.wordpress_version = Some(NASTY.to_owned());
    hostile.preview_url = format!("http://{NASTY}");
    panel.site_rows.put_environment(hostile, "");
    let backup = panel.put_backup(shop, shop.environment, BackupScope::Full);
    assert_harmless(&panel.get("/sites").await, 7);
    let path = shop.path();
    let page = panel.get(&path).await;
    assert_harmless(&page, 12);
    page.assert_has(&[&format!("<h1><bdi>{SHOWN}</bdi></h1>")]);
    for query in [
        format!("form=environment&environment_id={copy}"),
        format!("form=backup&environment_id={copy}"),
        format!("form=schedule&environment_id={copy}"),
        format!("confirm=restore&backup_id={backup}"),
        format!("confirm=delete-backup&backup_id={backup}"),
        format!("confirm=delete-environment&environment_id={copy}"),
        "confirm=delete".to_owned(),
        format!("confirm=login&environment_id={copy}"),
    ] {
        assert_harmless(&panel.get(&format!("{path}?{query}")).await, 2);
    }
    let form = format!("environment_id={}", shop.environment);
    assert_harmless(&panel.post(&format!("{path}/version"), &form).await, 12);
}

#[tokio::test]
async fn a_name_of_200_characters_is_refused_and_shown_as_text() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let (rest, end) = ("y".repeat(197 - NASTY.chars().count()), "END");
    let name = format!("{NASTY}{rest}{end}");
    assert_eq!(name.chars().count(), 200);
    let typed = encoded(&name);
    let id = shop.environment;
    for (place, form) in [
        ("/nodes".to_owned(), format!("acquisition_source=local&name={typed}")),
        (
            "/sites".to_owned(),
            format!("name={typed}&slug=shop&admin_email=a%40example.test"),
        ),
        (
            format!("{}/environments", shop.path()),
            format!("source_environment_id={id}&name={typed}&slug=copy&type=staging"),
        ),
    ] {
        let answer = panel.post(&place, &form).await;
        assert_eq!(answer.status, 400, "{place}");
        assert_harmless(&answer, 1);
        // All of it is in the field, with why it was refused beside it.
        answer.assert_has(&[
            &format!("value=\"{SHOWN}{rest}{end}\""),
            "1 to 100 characters",
            "aria-invalid=\"true\"",
        ]);
    }
}

#[tokio::test]
async fn what_was_typed_wrongly_into_the_forms_of_sites_comes_back_as_text() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let typed = encoded(&format!("{NASTY}{}", "x".repeat(200)));
    let (path, id) = (shop.path(), shop.environment);
    for (place, form, times) in [
        (
            "/sites".to_owned(),
            format!("name={typed}&slug={typed}&node_id={typed}&admin_email={typed}"),
            3,
        ),
        (
            format!("{path}/environments"),
            format!("source_environment_id={id}&name={typed}&slug={typed}&type={typed}&promotion_preset={typed}"),
            2,
        ),
        (
            format!("{path}/backups"),
            format!("environment_id={id}&backup_scope={typed}&retention_days={typed}"),
            1,
        ),
        (
            format!("{path}/schedule"),
            format!("environment_id={id}&every_hours={typed}&keep_days={typed}&backup_scope={typed}"),
            2,
        ),
        (format!("{path}/delete"), format!("confirm={typed}"), 0),
    ] {
        let answer = panel.post(&place, &form).await;
        assert_eq!(answer.status, 400, "{place}");
        assert_harmless(&answer, times);
    }
    for query in ["form", "confirm", "environment_id", "backup_id", "older"] {
        let answer = panel.get(&format!("{path}?{query}={typed}")).await;
        assert!(!answer.has("alert(1)"), "{answer:?}");
    }
    assert_eq!(panel.site_rows.all_backups().len(), 0);
}
