//! The host's own package archive, as the base image needs it: which entries of the host's apt sources are its
//! distribution, and which of its transport settings (proxies, retries) a node shares. Pure.

use std::path::PathBuf;

/// One entry of the host's apt sources that is the distribution itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    /// The field as written: a keyring's path, or a key block of several lines.
    signed_by: Option<String>,
}

/// Reads one file of apt sources, of either format, told apart by the file's name as apt does.
pub(crate) fn parse_sources(file_name: &str, text: &str) -> Vec<Source> {
    if file_name.ends_with(".sources") {
        deb822_stanzas(text).iter().filter_map(source_of_stanza).collect()
    } else {
        text.lines().filter_map(source_of_line).collect()
    }
}

type Stanza = Vec<(String, String)>;

fn deb822_stanzas(text: &str) -> Vec<Stanza> {
    let mut stanzas = vec![Stanza::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            stanzas.push(Stanza::new());
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanzas.last_mut().and_then(|stanza| stanza.last_mut()) {
                value.push('\n');
                value.push_str(line.trim_end());
            }
        } else if let Some((key, value)) = line.split_once(':')
            && let Some(stanza) = stanzas.last_mut()
        {
            stanza.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    stanzas
}

fn source_of_stanza(stanza: &Stanza) -> Option<Source> {
    let field = |name: &str| {
        stanza
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let words = |name: &str| words(field(name).unwrap_or_default());
    if field("enabled").is_some_and(|value| value.eq_ignore_ascii_case("no")) || !words("types").contains(&"deb".into())
    {
        return None;
    }
    Some(Source {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        signed_by: field("signed-by").map(str::to_owned),
    })
}

fn source_of_line(line: &str) -> Option<Source> {
    let entry = line.split('#').next()?.trim().strip_prefix("deb ")?.trim_start();
    let (options, entry) = match entry.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", entry),
    };
    let mut fields = words(entry).into_iter();
    let signed_by = words(options)
        .iter()
        .find_map(|option| option.strip_prefix("signed-by=").map(str::to_owned));
    Some(Source {
        uris: vec![fields.next()?],
        suites: vec![fields.next()?],
        components: fields.collect(),
        signed_by,
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

impl Source {
    /// The part of this entry that is the distribution `host` itself, told by its suites and its component `main`, for the
    /// release `wanted`. Archives of others (another component, a suite of another name) are left out.
    pub(crate) fn for_release(&self, host: &str, wanted: &str) -> Option<Self> {
        if !self.components.iter().any(|component| component == "main") {
            return None;
        }
        let suites: Vec<_> = self
            .suites
            .iter()
            .filter_map(|suite| {
                let pocket = suite.strip_prefix(host)?;
                matches!(pocket, "" | "-updates" | "-security").then(|| format!("{wanted}{pocket}"))
            })
            .collect();
        (!suites.is_empty()).then(|| Self { suites, ..self.clone() })
    }

    /// The keyring file on the host that this entry is checked by, where it names one.
    pub(crate) fn keyring(&self) -> Option<PathBuf> {
        self.signed_by
            .as_deref()
            .filter(|value| value.starts_with('/'))
            .map(PathBuf::from)
    }

    /// Whether it brings the release's own suite, without which there is no base system.
    pub(crate) fn has_suite(&self, release: &str) -> bool {
        self.suites.iter().any(|suite| suite == release)
    }

    fn to_deb822(&self) -> String {
        let signed_by = self
            .signed_by
            .as_ref()
            .map(|value| format!("Signed-By: {value}\n"))
            .unwrap_or_default();
        format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\n{signed_by}",
            self.uris.join(" "),
            self.suites.join(" "),
            self.components.join(" "),
        )
    }
}

/// The entries as one file in apt's deb822 format.
pub(crate) fn to_sources_file(sources: &[Source]) -> String {
    sources.iter().map(Source::to_deb822).collect::<Vec<_>>().join("\n")
}

/// The transport settings in a listing of `apt-config dump`, as lines for a file of apt's configuration.
pub(crate) fn transport_settings(dump: &str) -> Vec<String> {
    const SHARED: [&str; 6] = [
        "Acquire::http::",
        "Acquire::https::",
        "Acquire::Check-Valid-Until ",
        "Acquire::Check-Date ",
        "Acquire::Retries ",
        "Acquire::ForceIPv",
    ];
    // Empty values head a group; values that are paths name files (certificates) of the host.
    let shared = |line: &&str| {
        let of_transport = SHARED.iter().any(|prefix| line.starts_with(prefix));
        of_transport && line.ends_with("\";") && !line.ends_with(" \"\";") && !line.contains(" \"/")
    };
    dump.lines().filter(shared).map(str::to_owned).collect()
}

/// The proxies that only the environment names, as settings of apt; a proxy that `settings` name already wins.
pub(crate) fn proxies_of_environment(variable: impl Fn(&str) -> Option<String>, settings: &[String]) -> Vec<String> {
    let of_scheme = |scheme: &str| {
        let key = format!("Acquire::{scheme}::Proxy ");
        let value = variable(&format!("{scheme}_proxy")).filter(|value| !value.is_empty() && !value.contains('"'))?;
        (!settings.iter().any(|setting| setting.starts_with(&key))).then(|| format!("{key}\"{value}\";"))
    };
    ["http", "https"].into_iter().filter_map(of_scheme).collect()
}

/// Whether a setting names a proxy on the host's loopback, which a node cannot reach.
pub(crate) fn is_loopback_proxy(setting: &str) -> bool {
    let proxy = setting.contains("Proxy");
    proxy
        && ["//127.", "//localhost", "//[::1]", "@127.", "@localhost"]
            .iter()
            .any(|place| setting.contains(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://tools.example/linux/debian
Suites: bookworm
Components: stable
";

    fn told(sources: &[Source], wanted: &str) -> String {
        let sources: Vec<_> = sources
            .iter()
            .filter_map(|source| source.for_release("bookworm", wanted))
            .collect();
        to_sources_file(&sources)
    }

    #[test]
    fn only_the_distribution_itself_reaches_the_image() {
        let expected = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main \
            contrib\nSigned-By: /usr/share/keyrings/archive.gpg\n";
        assert_eq!(told(&parse_sources("debian.sources", DEB822), "bookworm"), expected);
    }

    #[test]
    fn the_one_line_format_says_the_same() {
        let text = "# deb http://x main\n\
            deb [arch=amd64 signed-by=/usr/share/keyrings/archive.gpg] http://mirror.example/debian bookworm main # own\n\
            deb-src http://mirror.example/debian bookworm main\n\
            deb http://pg.example bookworm-pgdg main\n\
            deb http://mirror.example/security bookworm-security main\n";
        let sources = parse_sources("sources.list", text);
        let expected = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\nSigned-By: \
            /usr/share/keyrings/archive.gpg\n\nTypes: deb\nURIs: http://mirror.example/security\nSuites: \
            bookworm-security\nComponents: main\n";
        assert_eq!(told(&sources, "bookworm"), expected);
        assert_eq!(
            sources[0].keyring(),
            Some(PathBuf::from("/usr/share/keyrings/archive.gpg"))
        );
        assert_eq!(sources[1].keyring(), None);
    }

    #[test]
    fn another_release_comes_from_the_same_mirror() {
        let text = told(&parse_sources("debian.sources", DEB822), "trixie");
        assert!(
            text.contains("URIs: http://mirror.example/debian\nSuites: trixie trixie-updates\n"),
            "{text}"
        );
    }

    #[test]
    fn an_inline_key_stays_whole() {
        let text = "Types: deb\nURIs: http://m.example\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n";
        let sources = parse_sources("a.sources", text);
        assert_eq!(sources[0].keyring(), None);
        assert!(told(&sources, "bookworm").ends_with("Signed-By: \n -----BEGIN\n .\n abc\n"));
    }

    #[test]
    fn proxies_and_checks_are_shared_and_the_rest_is_not() {
        let dump = "APT::Architecture \"amd64\";\nAcquire \"\";\nAcquire::http::Proxy \"http://proxy.example:3128\";\n\
            Acquire::http::Proxy::quiet.example \"DIRECT\";\nAcquire::Check-Date \"false\";\nAcquire::Languages \"none\";\n\
            Acquire::https::Verify-Peer \"\";\nAcquire::https::CaInfo \"/etc/ca.pem\";\nDPkg::Post-Invoke:: \"rm x\";\n";
        assert_eq!(
            transport_settings(dump),
            [
                "Acquire::http::Proxy \"http://proxy.example:3128\";",
                "Acquire::http::Proxy::quiet.example \"DIRECT\";",
                "Acquire::Check-Date \"false\";"
            ]
        );
    }

    #[test]
    fn a_proxy_of_the_environment_counts_where_apt_names_none() {
        let variable = |name: &str| (name == "http_proxy").then(|| "http://proxy.example:3128".to_owned());
        let setting = "Acquire::http::Proxy \"http://proxy.example:3128\";".to_owned();
        assert_eq!(
            proxies_of_environment(variable, &[]).as_slice(),
            std::slice::from_ref(&setting)
        );
        assert!(proxies_of_environment(variable, &[setting]).is_empty());
        assert!(proxies_of_environment(|_| Some(String::new()), &[]).is_empty());
    }

    #[test]
    fn a_proxy_on_the_hosts_loopback_is_told_from_one_that_a_node_can_reach() {
        assert!(is_loopback_proxy("Acquire::http::Proxy \"http://127.0.0.1:3142\";"));
        assert!(is_loopback_proxy(
            "Acquire::https::Proxy \"http://user:word@localhost:3142/\";"
        ));
        assert!(!is_loopback_proxy(
            "Acquire::http::Proxy \"http://proxy.example:3128\";"
        ));
        assert!(!is_loopback_proxy("Acquire::Check-Date \"false\";"));
    }
}
