//! Files that all of a run share: the certificate, the tools' own files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::client::SERVER_NAME;
use super::units::grpc_message;
use super::{peer_files, wrk};

pub(super) struct Files {
    /// Where each proxy has a folder.
    pub(super) folder: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// Both in one file, as HAProxy wants it.
    pub(super) certificate_and_key: PathBuf,
    /// Files that a process may open.
    pub(super) file_limit: u64,
}

impl Files {
    /// Writes them, with a new certificate over ECDSA P-256.
    pub(super) fn write(folder: &Path, file_limit: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate =
            CertificateParams::new(vec![SERVER_NAME.to_owned()])?.self_signed(&key)?;
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        let files = Self {
            folder: folder.to_owned(),
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
            certificate_and_key: folder.join("both.pem"),
            file_limit,
        };
        fs::write(&files.certificate, &certificate)?;
        fs::write(&files.key, &key)?;
        fs::write(&files.certificate_and_key, [certificate, key].concat())?;
        fs::write(files.openssl(), peer_files::openssl())?;
        fs::write(files.post_script(), wrk::post_script())?;
        fs::write(files.grpc_message(), grpc_message())?;
        Ok(files)
    }

    /// OpenSSL's configuration for wrk.
    pub(super) fn openssl(&self) -> PathBuf {
        self.folder.join("openssl.cnf")
    }

    /// wrk's script that posts.
    pub(super) fn post_script(&self) -> PathBuf {
        self.folder.join("post.lua")
    }

    /// A gRPC message for h2load.
    pub(super) fn grpc_message(&self) -> PathBuf {
        self.folder.join("message.grpc")
    }
}
