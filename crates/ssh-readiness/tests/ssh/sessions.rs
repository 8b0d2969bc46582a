//! Logins, what is refused, and what comes back from a command.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use domain_kernel::NodeId;
use futures_util::future::join_all;
use nodes_domain::{RemoteCommand, SshAccess, SshError};

use crate::server::{Site, context, control_folder, eventually, new_key, processes_with};

#[tokio::test]
async fn a_command_gets_its_input_and_its_streams_and_status_come_back() {
    let site = Site::start().await;
    let command = RemoteCommand {
        script: "cat; echo \"it's $LC_ALL\" >&2; exit 3".to_owned(),
        stdin: b"line one\nline two\n".to_vec(),
        limit: Duration::from_secs(5),
        new_login: false,
    };
    let output = site.run_command(&command).await.unwrap();
    assert_eq!(output.exit_status, Some(3), "{}", site.log());
    assert_eq!(output.stdout, "line one\nline two\n");
    assert_eq!(output.stderr, "it's C.UTF-8\n");
}

#[tokio::test]
async fn every_kind_of_end_is_reported_as_it_was() {
    let site = Site::start().await;
    for (script, status) in [
        ("true", Some(0)),
        ("exit 255", Some(255)),
        ("/no/such/program", Some(127)),
        ("kill -9 $$", Some(137)),
    ] {
        assert_eq!(site.run(script).await.unwrap().exit_status, status, "{script}");
    }
}

#[tokio::test]
async fn a_key_that_the_machine_does_not_accept_is_rejected() {
    let site = Site::start().await;
    site.accept_only("");
    assert_eq!(site.run("true").await, Err(SshError::AuthRejected));
}

#[tokio::test]
async fn a_missing_private_key_is_not_called_rejected() {
    let mut site = Site::start().await;
    site.target.ssh_private_key_path = site.folder.path().join("gone");
    let Err(SshError::Other(text)) = site.run("true").await else {
        panic!("no error")
    };
    assert!(text.contains("gone"), "{text}");
}

#[tokio::test]
async fn a_changed_host_key_is_refused_before_anything_is_sent() {
    let mut site = Site::start().await;
    site.target.host_key = new_key(&site.folder.path().join("other_host_key"));
    assert_eq!(site.run("true").await, Err(SshError::HostKeyMismatch));
    // A key of another type than the pinned one is another key.
    site.target.host_key = format!("ecdsa-sha2-nistp256 {}", "A".repeat(68)).parse().unwrap();
    assert_eq!(site.run("true").await, Err(SshError::HostKeyMismatch));
    assert!(!site.log().contains("Accepted"), "{}", site.log());
}

#[tokio::test]
async fn a_banner_does_not_mislead() {
    let site = Site::start_with("Banner {folder}/banner").await;
    let banner = "Connection refused\nHost key verification failed.\n";
    fs::write(site.folder.path().join("banner"), banner).unwrap();
    assert_eq!(site.run("echo in").await.unwrap().stderr, "");
    site.sessions.forget(site.node_id).await.unwrap();
    site.accept_only("");
    assert_eq!(site.run("true").await, Err(SshError::AuthRejected));
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let mut site = Site::start().await;
    let port = site.target.ssh_port;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    site.target.ssh_port = closed.local_addr().unwrap().port();
    drop(closed);
    assert_eq!(site.run("true").await, Err(SshError::Refused));
    site.target.ssh_port = port;
}

#[tokio::test]
async fn a_machine_that_accepts_and_stays_silent_is_unreachable_within_twelve_seconds() {
    let mut site = Site::start().await;
    let port = site.target.ssh_port;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    site.target.ssh_port = silent.local_addr().unwrap().port();
    let begin = Instant::now();
    let result = site.run("true").await;
    assert!(matches!(result, Err(SshError::Unreachable(_))), "{result:?}");
    assert!(begin.elapsed() < Duration::from_secs(13), "{:?}", begin.elapsed());
    site.target.ssh_port = port;
}

#[tokio::test]
async fn commands_share_a_connection_until_it_breaks() {
    let site = Site::start().await;
    let connection = "echo $SSH_CONNECTION";
    let first = site.run(connection).await.unwrap().stdout;
    assert_eq!(site.run(connection).await.unwrap().stdout, first);
    site.drop_connections();
    let later = site.run(connection).await;
    // The break may be noticed only by the command itself; the one after it has a new connection in any case.
    assert!(matches!(&later, Ok(_) | Err(SshError::Unreachable(_))), "{later:?}");
    assert_ne!(site.run(connection).await.unwrap().stdout, first);
}

#[tokio::test]
async fn a_new_login_is_one_and_leaves_the_shared_connection_alone() {
    let mut site = Site::start().await;
    let connection = "echo $SSH_CONNECTION";
    let shared = site.run(connection).await.unwrap().stdout;
    let (context, _cancel) = context(Duration::from_secs(20));
    let command = RemoteCommand::script(connection, Duration::from_secs(5)).over_new_login();
    let own = site
        .sessions
        .run(site.node_id, &site.target, &command, &context)
        .await
        .unwrap()
        .stdout;
    assert_ne!(own, shared);
    assert_eq!(site.run(connection).await.unwrap().stdout, shared);
    // The shared connection of a moment ago proves nothing about a login now.
    let port = std::mem::replace(&mut site.target.ssh_port, 1);
    let refused = site.sessions.run(site.node_id, &site.target, &command, &context).await;
    assert_eq!(refused, Err(SshError::Refused));
    site.target.ssh_port = port;
}

#[tokio::test]
async fn another_program_may_share_the_connection_while_it_is_open_to_the_same_target() {
    let site = Site::start().await;
    let shared = |target| site.sessions.shared_connection(site.node_id, target);
    assert_eq!(shared(&site.target).await, None, "none is opened for it");
    site.run("true").await.unwrap();
    let socket = shared(&site.target).await.unwrap();
    assert!(socket.starts_with(control_folder(&site)), "{socket:?}");
    let mut moved = site.target.clone();
    moved.hostname = "localhost".to_owned();
    assert_eq!(shared(&moved).await, None);
    site.sessions.forget(site.node_id).await.unwrap();
    assert_eq!(shared(&site.target).await, None);
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_command_is_unreachable() {
    let site = Site::start().await;
    let started = site.folder.path().join("started");
    let script = format!("touch {}; sleep 30.0731", started.display());
    let (result, ()) = tokio::join!(site.run(&script), async {
        eventually("the command starts", || started.exists()).await;
        site.drop_connections();
    });
    assert!(matches!(result, Err(SshError::Unreachable(_))), "{result:?}");
}

#[tokio::test]
async fn a_changed_target_gets_a_connection_of_its_own() {
    let mut site = Site::start().await;
    let first = site.run("echo $SSH_CONNECTION").await.unwrap().stdout;
    site.target.hostname = "localhost".to_owned();
    let second = site.run("echo $SSH_CONNECTION").await.unwrap().stdout;
    assert_ne!(first, second);
    site.target.host_key = new_key(&site.folder.path().join("other_host_key"));
    assert_eq!(site.run("true").await, Err(SshError::HostKeyMismatch));
}

#[tokio::test]
async fn six_commands_run_at_a_time() {
    let site = Site::start().await;
    // Nobody leaves before six have come, so the sixth meets them all; a seventh would be counted, too.
    let script = format!(
        "cd {}; mkdir running/$$ come/$$; until [ \"$(ls come | wc -l)\" -ge 6 ]; do sleep 0.05; done; \
         ls running | wc -l; sleep 0.3; rmdir running/$$",
        site.folder.path().display()
    );
    for name in ["running", "come"] {
        fs::create_dir(site.folder.path().join(name)).unwrap();
    }
    let outputs = join_all((0..14).map(|_| site.run(&script))).await;
    let counts: Vec<usize> = outputs
        .into_iter()
        .map(|output| output.unwrap().stdout.trim().parse().unwrap())
        .collect();
    assert_eq!(counts.iter().max(), Some(&6), "{counts:?}");
}

#[tokio::test]
async fn output_is_cut_at_256_kib_and_read_to_its_end() {
    let site = Site::start().await;
    let output = site
        .run("head -c 3000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2; exit 5")
        .await
        .unwrap();
    assert_eq!(output.exit_status, Some(5));
    assert_eq!((output.stdout.len(), output.stderr.len()), (256 * 1024, 256 * 1024));
}

#[tokio::test]
async fn input_that_is_not_read_is_no_trouble() {
    let site = Site::start().await;
    let command = RemoteCommand {
        script: "head -c 3; exit 0".to_owned(),
        stdin: vec![b'x'; 5_000_000],
        limit: Duration::from_secs(10),
        new_login: false,
    };
    let output = site.run_command(&command).await.unwrap();
    assert_eq!((output.exit_status, output.stdout.as_str()), (Some(0), "xxx"));
}

#[tokio::test]
async fn a_target_that_could_bring_directives_is_refused_by_run_and_by_config() {
    let mut site = Site::start().await;
    site.target.ssh_user = "root\n    ProxyCommand touch /tmp/pwned".to_owned();
    assert!(matches!(site.run("true").await, Err(SshError::Other(_))));
    site.sessions.config(site.node_id, &site.target).await.unwrap_err();
}

#[tokio::test]
async fn a_forgotten_node_has_no_connection_and_no_files() {
    let site = Site::start().await;
    site.run("true").await.unwrap();
    let config = site.sessions.config(site.node_id, &site.target).await.unwrap();
    let name = format!("pressluft-{}", site.node_id.short());
    assert!(config.ends_with(format!("{name}/config")));
    site.sessions.forget(site.node_id).await.unwrap();
    assert!(!config.parent().unwrap().exists());
    assert_eq!(site.sessions.reap_stale().await.unwrap(), 0, "its master has ended");
    site.sessions.forget(site.node_id).await.unwrap();
    site.sessions.forget(NodeId::generate()).await.unwrap();
}

#[tokio::test]
async fn masters_of_a_dead_server_are_reaped_at_the_next_start() {
    let site = Site::start().await;
    site.run("true").await.unwrap();
    // What a server that was killed leaves: a master and its socket, and nobody who knows of them.
    let next = crate::server::sessions(&site.folder.path().join("data"));
    assert_eq!(next.reap_stale().await.unwrap(), 1);
    assert_eq!(next.reap_stale().await.unwrap(), 0);
    let (context, _) = context(Duration::from_secs(20));
    let command = RemoteCommand::script("true", Duration::from_secs(5));
    next.run(site.node_id, &site.target, &command, &context).await.unwrap();
    // The old one notices that its connection is gone.
    site.run("true").await.unwrap();
    assert_eq!(site.sessions.reap_stale().await.unwrap(), 2);
}

#[tokio::test]
async fn another_data_directorys_masters_are_left_alone() {
    let (one, other) = (Site::start().await, Site::start().await);
    let connection = one.run("echo $SSH_CONNECTION").await.unwrap().stdout;
    other.run("true").await.unwrap();
    let place = control_folder(&other);
    assert_eq!(other.sessions.reap_stale().await.unwrap(), 1);
    assert_eq!(one.run("echo $SSH_CONNECTION").await.unwrap().stdout, connection);
    assert_eq!(processes_with(&place), Vec::<u32>::new());
    assert!(!std::path::Path::new(&place).exists(), "nothing of it is left");
    assert_eq!(processes_with(&control_folder(&one)).len(), 1);
}
