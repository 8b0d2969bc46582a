//! What provisioning would make of a machine: the key of it, out of everything in the folder `ansible` that shapes a node,
//! and the paths on a node that never leave it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use domain_kernel::JobErrorCode;
use jobs::Failure;
use nodes_domain::RuntimeImage;
use sha2::{Digest, Sha256};

/// What shapes a node. Tests and what only tells of a run do not.
const SHAPES_A_NODE: [&str; 7] = [
    SECRETS,
    "library",
    "module_utils",
    "playbooks/node-provision.yml",
    "roles",
    "tasks",
    "vars",
];

/// The file that lists the paths of secrets, one absolute path a line; `#` begins a line that is a comment.
const SECRETS: &str = "image-secrets.txt";

/// Reads it from `ansible_dir`. Blocks on the file system. Fails with `ANSIBLE_PLAY_ERROR` where something is missing,
/// cannot be read or is not what it should be: no run would go well either.
pub(crate) fn read(ansible_dir: &Path) -> Result<RuntimeImage, Failure> {
    let unreadable = |error: io::Error| {
        let detail = format!(
            "What provisions nodes cannot be read in {}: {error}",
            ansible_dir.display()
        );
        Failure::new(JobErrorCode::AnsiblePlayError, detail)
    };
    let text = fs::read_to_string(ansible_dir.join(SECRETS));
    let text = text.map_err(|error| unreadable(named(Path::new(SECRETS), &error)))?;
    Ok(RuntimeImage {
        key: key(ansible_dir).map_err(unreadable)?,
        secrets: secrets(&text)?,
    })
}

/// SHA-256 over the name and content of every file, each led by its length, in the order of their names.
fn key(ansible_dir: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for name in SHAPES_A_NODE {
        collect(ansible_dir, Path::new(name), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    for file in files {
        part(file.as_os_str().as_encoded_bytes());
        part(&fs::read(ansible_dir.join(&file)).map_err(|error| named(&file, &error))?);
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// Adds the files at and under `path`, as paths below `base`.
fn collect(base: &Path, path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let full = base.join(path);
    if !fs::metadata(&full).map_err(|error| named(path, &error))?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(&full).map_err(|error| named(path, &error))? {
        let name = entry.map_err(|error| named(path, &error))?.file_name();
        // Python writes these wherever it loads a module from.
        if name != "__pycache__" {
            collect(base, &path.join(name), files)?;
        }
    }
    Ok(())
}

/// The error with the path that it is about.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn secrets(text: &str) -> Result<Vec<String>, Failure> {
    let lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| {
            if is_plain_path(line) {
                return Ok(line.to_owned());
            }
            let detail = format!("Line {number} of {SECRETS} is not an absolute path: {line:?}");
            Err(Failure::new(JobErrorCode::AnsiblePlayError, detail))
        })
        .collect()
}

/// An absolute path of names alone: nothing that leads elsewhere or that a shell would expand, and never all of a machine.
fn is_plain_path(text: &str) -> bool {
    let names = text.strip_prefix('/').map(|rest| rest.split('/'));
    names.is_some_and(|mut names| {
        names.all(|name| {
            let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '+');
            !matches!(name, "" | "." | "..") && name.chars().all(allowed)
        })
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A folder `ansible` whose files are made in the given order.
    fn ansible(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    const FILES: [(&str, &str); 8] = [
        (
            "image-secrets.txt",
            "# secret\n\n/etc/pressluft\n  /etc/redis/users.acl\n",
        ),
        ("library/module.py", "1"),
        ("module_utils/shared.py", "2"),
        ("playbooks/node-provision.yml", "3"),
        ("roles/nginx/tasks/main.yml", "4"),
        ("roles/nginx/templates/nginx.conf.j2", "5"),
        ("tasks/release.yml", "6"),
        ("vars/debian-12.yml", "7"),
    ];

    fn key_of(files: &[(&str, &str)]) -> String {
        read(ansible(files).path()).unwrap().key
    }

    #[test]
    fn the_key_is_the_same_in_whatever_order_the_files_lie_in_their_folders() {
        let mut reversed = FILES;
        reversed.reverse();
        let key = key_of(&FILES);
        assert_eq!(key, key_of(&reversed));
        assert!(
            key.len() == 64 && key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            "{key}"
        );
    }

    #[test]
    fn the_key_changes_with_every_file_that_shapes_a_node() {
        for changed in 0..FILES.len() {
            let mut files = FILES;
            let content = format!("{}#", files[changed].1);
            files[changed].1 = &content;
            assert_ne!(key_of(&files), key_of(&FILES), "{}", files[changed].0);
        }
        let mut renamed = FILES;
        renamed[4].0 = "roles/nginx/tasks/other.yml";
        assert_ne!(key_of(&renamed), key_of(&FILES));
        assert_ne!(
            key_of(&[&FILES[..], &[("roles/redis/files/empty", "")]].concat()),
            key_of(&FILES)
        );
    }

    #[test]
    fn what_stands_in_one_file_is_not_taken_for_another_file() {
        let mut moved = FILES;
        (moved[4].1, moved[5].1) = ("45", "");
        let mut other = FILES;
        (other[4].1, other[5].1) = ("4", "5");
        assert_ne!(key_of(&moved), key_of(&other));
    }

    #[test]
    fn the_key_does_not_change_with_what_shapes_no_node() {
        let others = [
            ("tests/test_roles.py", "t"),
            ("callback_plugins/pressluft_events.py", "t"),
            ("playbooks/other.yml", "t"),
            ("library/__pycache__/module.cpython-311.pyc", "t"),
        ];
        assert_eq!(key_of(&[&FILES[..], &others].concat()), key_of(&FILES));
    }

    #[test]
    fn a_folder_without_something_that_shapes_a_node_is_refused_by_name() {
        for missing in 0..4 {
            let mut files = FILES.to_vec();
            let name = files.remove(missing).0;
            let failure = read(ansible(&files).path()).unwrap_err();
            assert_eq!(failure.code, JobErrorCode::AnsiblePlayError);
            let top = name.split('/').next().unwrap();
            assert!(failure.detail.contains(top), "{}", failure.detail);
        }
    }

    #[test]
    fn secrets_are_the_absolute_paths_of_the_list() {
        let image = read(ansible(&FILES).path()).unwrap();
        assert_eq!(image.secrets, ["/etc/pressluft", "/etc/redis/users.acl"]);
        assert_eq!(secrets("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_line_that_is_no_plain_absolute_path_is_refused_by_its_number() {
        for line in [
            "etc/x",
            "/",
            "/etc/",
            "//etc",
            "/etc/../x",
            "/etc/./x",
            "/etc/*",
            "/etc/$X",
            "/etc/a b",
            "~/x",
        ] {
            let failure = secrets(&format!("# first\n/etc/fine\n{line}\n")).unwrap_err();
            assert!(
                failure.detail.starts_with("Line 3 of image-secrets.txt "),
                "{line:?}: {}",
                failure.detail
            );
        }
    }

    #[test]
    fn the_list_of_this_repository_is_read() {
        let ansible = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ansible");
        assert!(!read(&ansible).unwrap().secrets.is_empty());
    }
}
