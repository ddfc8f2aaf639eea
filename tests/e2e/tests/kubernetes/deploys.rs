//! Good and bad versions: a good one is finished, a bad one is named by its cause and goes back with its configuration.

use trimaran_e2e::lab::Lab;
use trimaran_test_env::kubernetes::Cluster;

use crate::shop::{Shape, Shop, printed};

/// A version that goes wrong.
struct Bad {
    what: &'static str,
    artifact: String,
    /// Text and key of the configuration.
    config: (&'static str, &'static str),
    /// What `why` has to say.
    says: &'static str,
}

#[test]
fn good_versions_are_finished_and_bad_ones_go_back_with_their_configuration() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "shop", &Shape::default());
    let first = shop.version("v1", &[]);
    let deployed = shop.deploy(&first);
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    let installation = shop.wait_installation("v1", "healthy");
    assert_eq!(
        (&installation["desired"], &installation["updated"]),
        (&2.into(), &2.into()),
        "{installation:#}"
    );
    assert!(shop.logs().contains("service v1 starts"), "{}", shop.logs());
    let (serving, objects) = (shop.serving(), shop.objects());
    assert_eq!(serving.len(), 2, "{serving:?}");
    assert!(serving.iter().all(|(image, text)| image.contains("@sha256:") && text == "one"), "{serving:?}");
    let bad = [
        Bad {
            what: "an image that is not there",
            artifact: Shop::absent("v2"),
            config: ("two", "text"),
            says: "can't be pulled",
        },
        Bad {
            what: "a crash loop",
            artifact: shop.version("v3", &["CRASH=0s"]),
            config: ("three", "text"),
            says: "exit code 1",
        },
        Bad {
            what: "a configuration without the file",
            artifact: shop.version("v4", &[]),
            config: ("four", "other"),
            says: "no configuration",
        },
    ];
    for Bad { what, artifact, config: (text, key), says } in bad {
        shop.configure(text, key);
        let deployed = shop.deploy(&artifact);
        assert_eq!(deployed.status.code(), Some(12), "{what}: {}", printed(&deployed));
        let why = shop.why();
        assert!(why.contains(says), "{what}: {why}");
        shop.wait_installation("v1", "healthy");
        assert_eq!((shop.serving(), shop.objects()), (serving.clone(), objects.clone()), "back from {what}");
    }
    shop.configure("two", "text");
    let deployed = shop.deploy(&shop.version("v5", &[]));
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    assert!(shop.serving().iter().all(|(_, text)| text == "two"), "{:?}", shop.serving());
}

#[test]
fn a_version_that_exits_after_it_was_ready_is_no_success() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "later", &Shape { stability: "25s", ..Shape::default() });
    let deployed = shop.deploy(&shop.version("v1", &[]));
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    let deployed = shop.deploy(&shop.version("v2", &["CRASH=15s"]));
    assert_eq!(deployed.status.code(), Some(12), "{}", printed(&deployed));
    shop.wait_installation("v1", "healthy");
    let shown = shop.shown();
    assert_eq!(shown["status"], "rolled_back", "{shown:#}");
}
