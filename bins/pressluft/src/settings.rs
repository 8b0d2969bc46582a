//! Settings: a flag goes before `PRESSLUFT_<NAME>`, that before `pressluft.toml`, that before the default.

mod parse;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use accounts_domain::Email;
use domain_kernel::Secret;
use http_session::HttpSettings;
use operations::{UseCaseError, check_password};

pub(crate) use table::SETTINGS;

/// What makes new local nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalProvider {
    /// Multipass VMs.
    Multipass,
    /// systemd-nspawn machines.
    Nspawn,
}

/// What Multipass machines are made with; Multipass itself judges sizes and images.
#[derive(Debug, Clone)]
pub struct MultipassSettings {
    /// The program.
    pub program: String,
    /// The image.
    pub image: String,
    /// Processors.
    pub cpus: u32,
    /// Memory, as in `2G`.
    pub memory: String,
    /// Disk, as in `20G`.
    pub disk: String,
    /// How long a launch may take.
    pub launch_limit: Duration,
}

/// Where WordPress and WP-CLI come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactSource {
    /// The projects' own downloads.
    Official,
    /// The npm package that holds both.
    Npm,
    /// A folder that holds them; absolute.
    Folder(PathBuf),
}

/// A bucket for backups.
#[derive(Debug, Clone)]
pub struct BackupBucket {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The storage's URL, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// A folder in it.
    pub prefix: Option<String>,
    /// Who asks.
    pub access_key_id: String,
    /// What for proof.
    pub secret_access_key: Secret,
}

/// The settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub bind: String,
    /// The URL that browsers use.
    pub public_url: Option<String>,
    /// The proxies that are believed when they name the client.
    pub trusted_proxies: Vec<IpAddr>,
    /// Absolute.
    pub data_dir: PathBuf,
    /// Absolute.
    pub cache_dir: PathBuf,
    /// The database.
    pub database_url: String,
    /// What makes new local nodes.
    pub local_provider: LocalProvider,
    /// Multipass machines.
    pub multipass: MultipassSettings,
    /// How long a remote node's job waits for its key.
    pub remote_key_wait: Duration,
    /// The release of nspawn machines.
    pub nspawn_release: Option<String>,
    /// The range of nspawn machines.
    pub nspawn_range: Option<String>,
    /// Where WordPress and WP-CLI come from.
    pub artifact_source: ArtifactSource,
    /// The domain of previews, where the operator has one.
    pub preview_domain: Option<String>,
    /// Where backups are kept, where it is not the data directory.
    pub backup_bucket: Option<BackupBucket>,
    /// Pressluft's playbooks and roles.
    pub ansible_dir: PathBuf,
    /// Where ansible-core is installed.
    pub ansible_venv: PathBuf,
    /// The waits between attempts.
    pub retry_delays: Vec<Duration>,
    /// How many jobs run at the same time.
    pub workers: usize,
    /// The pause between looks at the nodes.
    pub probe_interval: Duration,
    /// Lost workers before a job fails.
    pub poison_limit: u32,
    /// How long jobs are kept after their end.
    pub retention: Duration,
    /// The most bytes of log that are kept of one attempt of a job.
    pub job_log_limit: u64,
    /// How many events are kept in all.
    pub event_limit: u64,
    /// The login that `dev` makes.
    pub admin_email: String,
    /// Its password.
    pub admin_password: Option<Secret>,
    /// Where each setting that was given was given.
    places: BTreeMap<&'static str, String>,
}

/// A setting that cannot be used, in one line that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError(pub String);

impl std::fmt::Display for SettingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingError {}

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct SettingsSource {
    /// From flags, by name.
    pub flags: BTreeMap<String, String>,
    /// The process's variables.
    pub environment: BTreeMap<String, String>,
    /// The content of `pressluft.toml`, where there is one.
    pub file: Option<String>,
    /// The working directory, for relative paths.
    pub directory: PathBuf,
    /// Where the program lies.
    pub program: Option<PathBuf>,
}

impl Settings {
    /// Reads and checks the settings.
    pub fn read(source: &SettingsSource) -> Result<Self, SettingError> {
        let values = Values::gather(source)?;
        let path = |name: &str, default: &str| source.directory.join(values.get(name).unwrap_or(default));
        values.optional("data_dir", |text| {
            if text.is_empty() {
                Err("expected a folder")
            } else {
                Ok(())
            }
        })?;
        let data_dir = path("data_dir", ".pressluft");
        let ansible_dir = match values.get("ansible_dir") {
            Some(given) => source.directory.join(given),
            None => parse::find_ansible(source),
        };
        let beside = ansible_dir.parent().unwrap_or(Path::new("/")).join(".venv");
        Ok(Self {
            bind: values.parse("bind", "127.0.0.1:8080", |text| {
                let (host, port) = text.rsplit_once(':').ok_or("expected <address>:<port>")?;
                port.parse::<u16>().map_err(|_| "expected <address>:<port>")?;
                if host.is_empty() {
                    Err("expected <address>:<port>")
                } else {
                    Ok(text.to_owned())
                }
            })?,
            public_url: values.optional("public_url", |text| {
                // Only its form counts here; the address that is bound is not known yet.
                let known = HttpSettings::new("127.0.0.1:80", Some(text));
                known
                    .map(|_| text.to_owned())
                    .map_err(|_| "expected http://host[:port] or https://host[:port]")
            })?,
            trusted_proxies: values.parse("trusted_proxy", "", |text| {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                let addresses: Result<_, _> = parts.map(str::parse).collect();
                addresses.map_err(|_| "expected IP addresses such as 127.0.0.1,::1")
            })?,
            cache_dir: path("cache_dir", "/var/cache/pressluft"),
            database_url: match values.optional("database_url", parse::database_url)? {
                Some(url) => url,
                None => format!("sqlite:{}", data_dir.join("pressluft.sqlite").display()),
            },
            local_provider: values.parse("local_provider", "multipass", |text| match text {
                "multipass" => Ok(LocalProvider::Multipass),
                "nspawn" => Ok(LocalProvider::Nspawn),
                _ => Err("expected `multipass` or `nspawn`"),
            })?,
            multipass: MultipassSettings {
                program: values.parse("multipass_program", "multipass", parse::argument)?,
                image: values.parse("multipass_image", "24.04", parse::argument)?,
                cpus: values.parse("multipass_cpus", "2", |text| match text.parse() {
                    Ok(count @ 1..=256) => Ok(count),
                    _ => Err("expected a number from 1 to 256"),
                })?,
                memory: values.parse("multipass_memory", "2G", parse::argument)?,
                disk: values.parse("multipass_disk", "20G", parse::argument)?,
                launch_limit: values.parse("multipass_launch_limit", "15m", |text| match parse::duration(text) {
                    Some(limit) if (1..=30 * 60).contains(&limit.as_secs()) => Ok(limit),
                    _ => Err("expected a duration such as 15m, at most 30m"),
                })?,
            },
            remote_key_wait: values.parse("remote_key_wait", "10m", |text| match parse::duration(text) {
                Some(wait) if !wait.is_zero() => Ok(wait),
                _ => Err("expected a duration such as 10m"),
            })?,
            nspawn_release: values.optional("nspawn_release", |text| {
                let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase());
                if is_name {
                    Ok(text.to_owned())
                } else {
                    Err("expected a code name such as bookworm")
                }
            })?,
            nspawn_range: values.get("nspawn_range").map(str::to_owned),
            artifact_source: values.parse("artifact_source", "official", |text| match text {
                "" => Err("expected `official`, `npm` or a folder"),
                "official" => Ok(ArtifactSource::Official),
                "npm" => Ok(ArtifactSource::Npm),
                // A mistyped word is no folder that is not there yet.
                word if !word.contains('/') => Err("expected `official`, `npm` or a folder with a `/` in it"),
                folder => Ok(ArtifactSource::Folder(source.directory.join(folder))),
            })?,
            preview_domain: values.optional("preview_domain", parse::domain)?,
            backup_bucket: values.backup_bucket()?,
            ansible_venv: values
                .get("ansible_venv")
                .map_or(beside, |given| source.directory.join(given)),
            ansible_dir,
            retry_delays: values.parse("retry_delays", "60s,5m", |text| {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                parts
                    .map(parse::duration)
                    .collect::<Option<_>>()
                    .ok_or("expected durations such as 60s,5m")
            })?,
            workers: values.parse("workers", "4", |text| match text.parse() {
                Ok(count @ 1..=64) => Ok(count),
                _ => Err("expected a number from 1 to 64"),
            })?,
            probe_interval: values.parse("probe_interval", "60s", |text| match parse::duration(text) {
                Some(pause) if !pause.is_zero() => Ok(pause),
                _ => Err("expected a duration such as 60s"),
            })?,
            poison_limit: values.parse("poison_limit", "5", |text| match text.parse() {
                Ok(limit @ 1..=1000) => Ok(limit),
                _ => Err("expected a number from 1 to 1000"),
            })?,
            retention: values.parse("retention", "90d", |text| match parse::duration(text) {
                Some(kept) if !kept.is_zero() => Ok(kept),
                _ => Err("expected a duration such as 90d"),
            })?,
            job_log_limit: values.parse("job_log_limit", "4MiB", |text| match parse::bytes(text) {
                Some(limit @ 1..) => Ok(limit),
                _ => Err("expected a size such as 4MiB"),
            })?,
            event_limit: values.parse("event_limit", "1000000", |text| match text.parse() {
                Ok(limit @ 1..) => Ok(limit),
                _ => Err("expected a number from 1"),
            })?,
            admin_email: values.parse("admin_email", "admin@localhost.test", |text| {
                let email: Result<Email, _> = text.parse();
                email
                    .map(|email| email.as_str().to_owned())
                    .map_err(|_| "expected an e-mail address")
            })?,
            admin_password: values.admin_password()?,
            places: values.places(),
            data_dir,
        })
    }

    /// Where a setting was given, such as `--bind` or `PRESSLUFT_BIND`; `None` where its default holds.
    pub(crate) fn place(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(String::as_str)
    }

    /// The playbook that provisions nodes.
    pub(crate) fn playbook(&self) -> PathBuf {
        self.ansible_dir.join("playbooks/node-provision.yml")
    }

    /// The program that runs it.
    pub(crate) fn ansible_playbook(&self) -> PathBuf {
        self.ansible_venv.join("bin/ansible-playbook")
    }
}

/// Each setting's text with where it came from.
struct Values(BTreeMap<&'static str, (String, String)>);

impl Values {
    fn gather(source: &SettingsSource) -> Result<Self, SettingError> {
        let file = match &source.file {
            Some(text) => read_file(text)?,
            None => BTreeMap::new(),
        };
        let mut values = BTreeMap::new();
        for info in SETTINGS {
            let variable = format!("PRESSLUFT_{}", info.name.to_uppercase());
            let given = if let Some(text) = source.flags.get(info.name) {
                Some((text, format!("--{}", info.name.replace('_', "-"))))
            } else if let Some(text) = source.environment.get(&variable) {
                Some((text, variable))
            } else {
                file.get(info.name)
                    .map(|text| (text, format!("pressluft.toml: {}", info.name)))
            };
            if let Some((text, place)) = given {
                values.insert(info.name, (text.clone(), place));
            }
        }
        Ok(Self(values))
    }

    fn places(&self) -> BTreeMap<&'static str, String> {
        let places = self.0.iter().map(|(name, (_, place))| (*name, place.clone()));
        places.collect()
    }

    /// The password is never told, not even a bad one.
    fn admin_password(&self) -> Result<Option<Secret>, SettingError> {
        let Some((text, place)) = self.0.get("admin_password") else {
            return Ok(None);
        };
        let password = Secret::new(text);
        check_password(&password).map_err(|error: UseCaseError| SettingError(format!("{place}: {error}")))?;
        Ok(Some(password))
    }

    /// All of a bucket's settings, or none. The secret is never told.
    fn backup_bucket(&self) -> Result<Option<BackupBucket>, SettingError> {
        let secret = self.0.get("backup_s3_secret_access_key");
        let Some(bucket) = self.optional("backup_s3_bucket", parse::argument)? else {
            let others = ["region", "endpoint", "prefix", "access_key_id", "secret_access_key"];
            let lonely = others.map(|name| format!("backup_s3_{name}"));
            return match lonely.iter().find_map(|name| self.0.get(name.as_str())) {
                Some((_, place)) => Err(SettingError(format!("{place}: PRESSLUFT_BACKUP_S3_BUCKET is missing"))),
                None => Ok(None),
            };
        };
        let missing = |name: &str| SettingError(format!("PRESSLUFT_BACKUP_S3_{name}: needed with a bucket"));
        Ok(Some(BackupBucket {
            bucket,
            region: self.parse("backup_s3_region", "us-east-1", parse::argument)?,
            endpoint: self.optional("backup_s3_endpoint", |text| {
                let known = text.starts_with("https://") || text.starts_with("http://");
                known
                    .then(|| text.to_owned())
                    .ok_or("expected a URL such as https://storage.example.com")
            })?,
            prefix: self.optional("backup_s3_prefix", parse::argument)?,
            access_key_id: self
                .optional("backup_s3_access_key_id", parse::argument)?
                .ok_or_else(|| missing("ACCESS_KEY_ID"))?,
            secret_access_key: match secret {
                Some((text, _)) if !text.is_empty() => Secret::new(text),
                _ => return Err(missing("SECRET_ACCESS_KEY")),
            },
        }))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(text, _)| text.as_str())
    }

    fn parse<T>(
        &self,
        name: &str,
        default: &str,
        read: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<T, SettingError> {
        let fallback = (default.to_owned(), name.to_owned());
        let (text, place) = self.0.get(name).unwrap_or(&fallback);
        read(text).map_err(|expected| SettingError(format!("{place}: {expected}, not `{text}`")))
    }

    fn optional<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, SettingError> {
        if self.get(name).is_none() {
            Ok(None)
        } else {
            self.parse(name, "", read).map(Some)
        }
    }
}

fn read_file(text: &str) -> Result<BTreeMap<String, String>, SettingError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        SettingError(format!("pressluft.toml cannot be read: {}", error.message()))
    })?;
    let mut values = BTreeMap::new();
    for (name, value) in table {
        if !SETTINGS.iter().any(|info| info.name == name) {
            return Err(SettingError(format!("pressluft.toml: there is no setting `{name}`")));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            other => {
                let kind = other.type_str();
                return Err(SettingError(format!(
                    "pressluft.toml: {name}: expected a text or a number, not a {kind}"
                )));
            }
        };
        values.insert(name, text);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> SettingsSource {
        SettingsSource {
            directory: PathBuf::from("/somewhere"),
            ..SettingsSource::default()
        }
    }

    fn set(map: &mut BTreeMap<String, String>, name: &str, value: &str) {
        map.insert(name.to_owned(), value.to_owned());
    }

    #[test]
    fn without_any_setting_the_defaults_hold() {
        let settings = Settings::read(&source()).unwrap();
        assert_eq!(settings.bind, "127.0.0.1:8080");
        assert_eq!(settings.data_dir, Path::new("/somewhere/.pressluft"));
        assert_eq!(settings.database_url, "sqlite:/somewhere/.pressluft/pressluft.sqlite");
        assert_eq!(settings.local_provider, LocalProvider::Multipass);
        assert!(settings.trusted_proxies.is_empty());
        assert_eq!(
            settings.retry_delays,
            [Duration::from_secs(60), Duration::from_secs(300)]
        );
        assert_eq!(settings.retention, Duration::from_secs(90 * 24 * 3600));
        assert_eq!((settings.job_log_limit, settings.event_limit), (4 << 20, 1_000_000));
        assert_eq!(settings.ansible_dir, Path::new("/somewhere/ansible"));
        assert_eq!(settings.ansible_venv, Path::new("/somewhere/.venv"));
    }

    #[test]
    fn a_flag_goes_before_a_variable_and_that_before_the_file() {
        let mut source = source();
        source.file = Some("workers = 1\nbind = \"1.1.1.1:1\"\npoison_limit = 9".to_owned());
        set(&mut source.environment, "PRESSLUFT_WORKERS", "2");
        set(&mut source.environment, "PRESSLUFT_BIND", "2.2.2.2:2");
        set(&mut source.flags, "workers", "3");
        let settings = Settings::read(&source).unwrap();
        assert_eq!(
            (settings.workers, settings.bind.as_str(), settings.poison_limit),
            (3, "2.2.2.2:2", 9)
        );
    }

    #[test]
    fn a_bad_setting_is_named_with_its_place() {
        let cases = [
            ("BIND", "8080"),
            ("PUBLIC_URL", "example.test"),
            ("PUBLIC_URL", "http://a b"),
            ("TRUSTED_PROXY", "localhost"),
            ("TRUSTED_PROXY", "127.0.0.1,10.0.0.0/8"),
            ("TRUSTED_PROXY", "[::1]"),
            ("DATA_DIR", ""),
            ("DATABASE_URL", "mysql://x"),
            ("NSPAWN_RELEASE", "Foo"),
            ("ADMIN_EMAIL", "foo"),
            ("LOCAL_PROVIDER", "docker"),
            ("RETRY_DELAYS", "soon"),
            ("WORKERS", "0"),
            ("PROBE_INTERVAL", "0s"),
            ("POISON_LIMIT", "none"),
            ("RETENTION", "0d"),
            ("RETENTION", "90"),
            ("JOB_LOG_LIMIT", "0"),
            ("JOB_LOG_LIMIT", "4MB"),
            ("EVENT_LIMIT", "0"),
        ];
        for (name, value) in cases {
            let mut source = source();
            set(&mut source.environment, &format!("PRESSLUFT_{name}"), value);
            let error = Settings::read(&source).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("PRESSLUFT_{name}: ")) && error.contains(value),
                "{error}"
            );
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn trusted_proxies_are_a_list_of_addresses() {
        let mut source = source();
        set(
            &mut source.environment,
            "PRESSLUFT_TRUSTED_PROXY",
            "127.0.0.1, 2001:db8::1,",
        );
        let proxies: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(Settings::read(&source).unwrap().trusted_proxies, proxies);
    }

    #[test]
    fn an_unknown_key_of_the_file_is_refused() {
        let mut source = source();
        source.file = Some("colour = \"red\"".to_owned());
        assert_eq!(
            Settings::read(&source).unwrap_err().to_string(),
            "pressluft.toml: there is no setting `colour`"
        );
    }

    #[test]
    fn a_short_password_is_refused_without_being_told() {
        let mut source = source();
        set(&mut source.environment, "PRESSLUFT_ADMIN_PASSWORD", "hunter2");
        assert_eq!(
            Settings::read(&source).unwrap_err().to_string(),
            "PRESSLUFT_ADMIN_PASSWORD: A password has at least 12 characters."
        );
    }

    #[test]
    fn a_setting_knows_where_it_was_given() {
        let mut source = source();
        set(&mut source.flags, "bind", "127.0.0.1:1");
        set(&mut source.environment, "PRESSLUFT_ANSIBLE_DIR", "/a");
        let settings = Settings::read(&source).unwrap();
        assert_eq!(settings.place("bind"), Some("--bind"));
        assert_eq!(settings.place("ansible_dir"), Some("PRESSLUFT_ANSIBLE_DIR"));
        assert_eq!(settings.place("ansible_venv"), None);
    }

    #[test]
    fn a_password_is_not_printed_with_the_settings() {
        let mut source = source();
        set(&mut source.environment, "PRESSLUFT_ADMIN_PASSWORD", "hunter2hunter2");
        assert!(!format!("{:?}", Settings::read(&source).unwrap()).contains("hunter2"));
    }
}
