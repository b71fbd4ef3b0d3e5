use std::os::unix::fs::symlink;

use notify::event::CreateKind;

use super::*;

/// A folder of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("leno-folder-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  selector:\n    app: {name}\n  \
         ports:\n  - port: 80\n"
    )
}

async fn until_documents(mesh: &Mesh, expected: &[&str]) {
    let names =
        || -> Vec<String> { mesh.catalog().documents().map(|it| it.key.name.clone()).collect() };
    let mut revisions = mesh.revisions();
    let waiting = revisions.wait_for(|_| names() == expected);
    let result = timeout(Duration::from_secs(60), waiting).await;
    assert!(result.is_ok(), "expected {expected:?}, there are {:?}", names());
}

#[tokio::test]
async fn the_folder_is_followed_through_every_kind_of_change() {
    let all = Folder::new();
    all.write("v1/a.yaml", &service("a"));
    all.write("v2/b.yaml", &service("b"));
    symlink("v1", all.at("current")).unwrap();
    let tasks = Tasks::new();
    let mesh = Mesh::start(store::open_memory(), &tasks).await.unwrap();
    let folder = ManifestFolder::open(&all.at("current"), &mesh).await.unwrap();
    until_documents(&mesh, &["a"]).await;
    folder.follow(mesh.clone(), &tasks);

    all.write("v1/new/deep.yaml", &service("deep"));
    until_documents(&mesh, &["a", "deep"]).await;
    all.write("v1/new/deeper.yml", &service("deeper"));
    until_documents(&mesh, &["a", "deep", "deeper"]).await;
    fs::remove_dir_all(all.at("v1/new")).unwrap();
    until_documents(&mesh, &["a"]).await;
    // As editors save.
    all.write("v1/.a.yaml.swp", &service("c"));
    fs::rename(all.at("v1/.a.yaml.swp"), all.at("v1/a.yaml")).unwrap();
    until_documents(&mesh, &["c"]).await;
    // As a release is switched.
    symlink("v2", all.at("next")).unwrap();
    fs::rename(all.at("next"), all.at("current")).unwrap();
    until_documents(&mesh, &["b"]).await;
    all.write("v2/d.yaml", &service("d"));
    until_documents(&mesh, &["b", "d"]).await;
    // A wrong document leaves everything as it was, until it is mended.
    all.write("v2/d.yaml", "kind: [");
    all.write("v2/e.yaml", &service("e"));
    all.write("v2/d.yaml", &service("d2"));
    until_documents(&mesh, &["b", "d2", "e"]).await;
    let late = tasks.shut_down(Duration::from_secs(10)).await;
    assert!(late.is_empty(), "{late:?}");
}

/// Kubernetes shows a ConfigMap as symlinks through `..data`, which it swaps.
#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    let all = Folder::new();
    all.write("mount/..1/a.yaml", &service("a"));
    symlink("..1", all.at("mount/..data")).unwrap();
    symlink("..data/a.yaml", all.at("mount/a.yaml")).unwrap();
    let tasks = Tasks::new();
    let mesh = Mesh::start(store::open_memory(), &tasks).await.unwrap();
    let folder = ManifestFolder::open(&all.at("mount"), &mesh).await.unwrap();
    folder.follow(mesh.clone(), &tasks);
    until_documents(&mesh, &["a"]).await;
    all.write("mount/..2/a.yaml", &service("b"));
    symlink("..2", all.at("mount/..data_tmp")).unwrap();
    fs::rename(all.at("mount/..data_tmp"), all.at("mount/..data")).unwrap();
    until_documents(&mesh, &["b"]).await;
    tasks.shut_down(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_rollout_may_be_renamed_and_two_of_one_service_change_nothing() {
    let rollout = |name: &str| {
        format!(
            "apiVersion: leno.dev/v1\nkind: Rollout\nmetadata: {{name: {name}}}\n\
             spec: {{service: web, version: v1}}\n"
        )
    };
    let all = Folder::new();
    all.write("a.yaml", &rollout("a"));
    let tasks = Tasks::new();
    let mesh = Mesh::start(store::open_memory(), &tasks).await.unwrap();
    let folder = ManifestFolder::open(&all.0, &mesh).await.unwrap();
    until_documents(&mesh, &["a"]).await;
    all.write("a.yaml", &rollout("b"));
    assert!(folder.apply(&mesh).await.is_ok());
    until_documents(&mesh, &["b"]).await;
    all.write("c.yaml", &rollout("c"));
    let refused = folder.apply(&mesh).await;
    assert!(matches!(refused, Err(Failure::Documents(errors)) if errors.len() == 1));
    until_documents(&mesh, &["b"]).await;
    tasks.shut_down(Duration::from_secs(10)).await;
}

#[test]
fn reading_is_no_change_and_neither_is_what_happens_beside_the_folder() {
    let folder = Path::new("/etc/mesh");
    let event = |kind, path: &str| Event::new(kind).add_path(path.into());
    let create = EventKind::Create(CreateKind::File);
    let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    assert!(concerns(&event(create, "/etc/mesh/a.yaml"), folder));
    assert!(concerns(&event(create, "/etc/mesh"), folder));
    assert!(concerns(&event(written, "/etc/mesh/a.yaml"), folder));
    assert!(concerns(&Event::new(EventKind::Other), folder));
    assert!(!concerns(&event(opened, "/etc/mesh/a.yaml"), folder));
    assert!(!concerns(&event(create, "/etc/passwd"), folder));
}

#[test]
fn what_cannot_be_read_is_named() {
    let all = Folder::new();
    all.write("a/b.yaml", "b");
    assert_eq!(read_folder(&all.0).unwrap().len(), 1);
    symlink("..", all.at("a/loop")).unwrap();
    let error = read_folder(&all.0).unwrap_err().to_string();
    assert!(error.contains("a/loop") && error.contains("back up"), "{error}");
    fs::remove_file(all.at("a/loop")).unwrap();
    symlink("nowhere", all.at("a/c.yaml")).unwrap();
    let error = read_folder(&all.0).unwrap_err().to_string();
    assert!(error.contains("a/c.yaml"), "{error}");
    fs::remove_file(all.at("a/c.yaml")).unwrap();
    symlink("/dev/zero", all.at("a/d.json")).unwrap();
    let error = read_folder(&all.0).unwrap_err().to_string();
    assert!(error.contains("a/d.json") && error.contains("not a file"), "{error}");
}
