//! Every setting, once: its name and what `--help` says of it.

/// A setting's name and help. The flag is `--data-dir`, the variable `PRESSLUFT_DATA_DIR`, the key in the file
/// `data_dir`.
pub(crate) struct SettingInfo {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    /// Whether there is a flag: not for secrets, which every user of the host could read.
    pub(crate) flag: bool,
}

const fn setting(name: &'static str, help: &'static str) -> SettingInfo {
    SettingInfo { name, help, flag: true }
}

/// Every setting.
pub(crate) const SETTINGS: &[SettingInfo] = &[
    setting("bind", "Address and port to listen on [default: 127.0.0.1:8080]"),
    setting(
        "public_url",
        "The URL that browsers use, where it is not the bind address",
    ),
    setting(
        "trusted_proxy",
        "IP addresses of reverse proxies whose X-Forwarded-For names the client, such as 127.0.0.1,::1 [default: none]",
    ),
    setting(
        "data_dir",
        "Database, keys and machines of this installation [default: ./.pressluft]",
    ),
    setting(
        "cache_dir",
        "Base images, images of provisioned nodes, WordPress and WP-CLI, shared by several data directories [default: /var/cache/pressluft]",
    ),
    setting(
        "database_url",
        "sqlite:<path> or postgres://... [default: sqlite in the data directory]",
    ),
    setting(
        "local_provider",
        "What makes new local nodes: multipass or nspawn [default: multipass]",
    ),
    setting(
        "multipass_program",
        "The multipass program, a name or an absolute path [default: multipass]",
    ),
    setting(
        "multipass_image",
        "Image of Multipass machines, an Ubuntu release [default: 24.04]",
    ),
    setting("multipass_cpus", "Processors of a Multipass machine [default: 2]"),
    setting("multipass_memory", "Memory of a Multipass machine [default: 2G]"),
    setting("multipass_disk", "Disk of a Multipass machine [default: 20G]"),
    setting(
        "multipass_launch_limit",
        "How long a launch may take, the download of the image included [default: 15m]",
    ),
    setting(
        "remote_key_wait",
        "How long a remote node's job waits for the operator to install Pressluft's key [default: 10m]",
    ),
    setting(
        "nspawn_release",
        "Release of nspawn machines, such as bookworm [default: this host's]",
    ),
    setting(
        "nspawn_range",
        "Private range for nspawn machines [default: 10.210.0.0/16]",
    ),
    setting(
        "artifact_source",
        "Where WordPress and WP-CLI come from: official, npm, or a folder that holds them [default: official]",
    ),
    setting(
        "preview_domain",
        "Domain under which every environment answers, as <short id>.<domain>, instead of sslip.io",
    ),
    setting(
        "backup_s3_bucket",
        "Bucket for backups, in place of the data directory; S3-compatible",
    ),
    setting("backup_s3_region", "The bucket's region [default: us-east-1]"),
    setting("backup_s3_endpoint", "URL of the storage, where it is not Amazon's"),
    setting("backup_s3_prefix", "Folder of the bucket that backups are put into"),
    setting("backup_s3_access_key_id", "Access key for the bucket"),
    SettingInfo {
        name: "backup_s3_secret_access_key",
        help: "Its secret",
        flag: false,
    },
    setting(
        "ansible_dir",
        "Pressluft's ansible folder [default: beside the binary, then ./ansible]",
    ),
    setting(
        "ansible_venv",
        "Virtual environment with ansible-core [default: beside the ansible folder, .venv]",
    ),
    setting("retry_delays", "Waits between attempts [default: 60s,5m]"),
    setting("workers", "How many jobs run at the same time [default: 4]"),
    setting("probe_interval", "Pause between looks at the nodes [default: 60s]"),
    setting(
        "poison_limit",
        "Workers that may be lost in one step before its job fails [default: 5]",
    ),
    setting(
        "retention",
        "How long jobs are kept after their end, with their events [default: 90d]",
    ),
    setting(
        "job_log_limit",
        "The most bytes of log that are kept of one attempt of a job [default: 4MiB]",
    ),
    setting("event_limit", "How many events are kept in all [default: 1000000]"),
    setting(
        "admin_email",
        "The login that `dev` makes where there is none [default: admin@localhost.test]",
    ),
    SettingInfo {
        name: "admin_password",
        help: "Its password [default: a random one, printed once]",
        flag: false,
    },
];
