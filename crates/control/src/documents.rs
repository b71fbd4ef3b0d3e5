//! Reading several files of documents as one: all of them are good, or none is used.

use std::collections::BTreeMap;

use model::{Diagnostic, Document, DocumentKey, Severity};

/// What several files hold.
#[derive(Debug, Default)]
pub struct Reading {
    /// Documents of all files, in order.
    pub documents: Vec<Document>,
    /// What is wrong; if there is anything, no document may be used.
    pub errors: Vec<Diagnostic>,
}

/// Reads files of documents. A document that stands in two files is an error, and workloads that wait for each other in a circle.
pub fn read_all<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Reading {
    let mut all = Reading::default();
    let mut seen: BTreeMap<DocumentKey, String> = BTreeMap::new();
    for (source, text) in files {
        let reading = manifests::read(text, source);
        all.errors.extend(reading.errors);
        for document in reading.documents {
            if let Some(other) = seen.insert(document.key.clone(), source.to_owned())
                && other != source
            {
                all.errors.push(Diagnostic {
                    severity: Severity::Error,
                    place: model::Place { file: document.source.clone(), line: document.line },
                    field: "metadata.name".into(),
                    message: format!("{} is also in {other}", document.key),
                    remedy: "keep one of the two, or give one another name".into(),
                });
            }
            all.documents.push(document);
        }
    }
    all.errors.extend(manifests::find_circles(&all.documents));
    all
}

/// Reads only the identities of the documents in files, for deleting.
pub fn read_keys<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> (Vec<DocumentKey>, Vec<Diagnostic>) {
    let mut keys = Vec::new();
    let mut errors = Vec::new();
    for (source, text) in files {
        let read = manifests::parse_keys(text, source);
        keys.extend(read.keys);
        errors.extend(read.errors);
    }
    (keys, errors)
}
