//! Runs `ansible-playbook`: starts it from its virtual environment with nothing inherited, tells its tasks as events
//! while they happen, and classifies its end.
//!
//! [`AnsibleRunner`] implements [`nodes_domain::NodeProvisioner`] and [`sites_domain::SiteRuntime`]. What is done on a machine is written in the folder
//! `ansible` of the repository, never here. No SSH configuration is made here either: it comes from
//! [`nodes_domain::SshAccess::config`], and processes are started by [`process_exec::CommandRunner`] alone.

mod end;
mod event;
mod leftovers;
mod playbook_run;
mod progress;
mod provisioner;
mod run_folder;
mod runtime_image;
mod site_runtime;

pub use playbook_run::{AnsibleRunner, AnsibleSettings};
