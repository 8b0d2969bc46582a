//! What sites are made with, from the settings: storages of backups, and the cache of WordPress and WP-CLI.

use std::sync::Arc;

use artifact_cache::{ArtifactSource, Cache, NpmPackage, OfficialSource};
use backup_storage::{ObjectStorage, S3Settings};
use operations::BackupStorages;

use crate::app::Platform;
use crate::settings::{ArtifactSource as WantedSource, SettingError, Settings};

/// The storages: the data directory's is there whatever new backups are put into, because older ones may lie in it.
pub(crate) fn storages(settings: &Settings, platform: &Platform) -> anyhow::Result<BackupStorages> {
    let local = Arc::new(ObjectStorage::folder(&platform.data_dir.backups())?);
    let Some(bucket) = &settings.backup_bucket else {
        return Ok(BackupStorages::new(local));
    };
    let s3 = ObjectStorage::s3(&S3Settings {
        bucket: bucket.bucket.clone(),
        region: bucket.region.clone(),
        endpoint: bucket.endpoint.clone(),
        access_key_id: bucket.access_key_id.clone(),
        secret_access_key: bucket.secret_access_key.clone(),
        prefix: bucket.prefix.clone().unwrap_or_default(),
    });
    let s3 = s3.map_err(|error| SettingError(format!("PRESSLUFT_BACKUP_S3_BUCKET: {error}")))?;
    Ok(BackupStorages::new(Arc::new(s3)).with(local))
}

/// The cache of WordPress and WP-CLI. Nothing is fetched yet.
pub(crate) fn artifacts(settings: &Settings, platform: &Platform) -> Cache {
    let source = match &settings.artifact_source {
        WantedSource::Official => ArtifactSource::Official(OfficialSource::pinned()),
        WantedSource::Npm => ArtifactSource::Npm(NpmPackage::pinned()),
        WantedSource::Folder(folder) => ArtifactSource::Folder(folder.clone()),
    };
    Cache::new(&settings.cache_dir, source, Arc::clone(&platform.runner))
}
