//! Chains that look right and are not.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use trimaran_model::time::WallTime;
use trimaran_transport::authority::{Authority, AuthorityError, ISSUER_DEPTH_MAX, Issuer as TrimaranIssuer};
use trimaran_transport::enroll::{Csr, make_key_and_csr};
use trimaran_transport::pki::identity::CertificateError;
use trimaran_transport::pki::trust::CHAIN_CERTIFICATES_MAX;
use trimaran_transport::{Trust, files::IdentityFiles};

use crate::world::{DAY, NOW, World, agent};

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(|found| found.expect("PEM")).collect()
}

fn root_key(world: &World) -> KeyPair {
    KeyPair::from_pem(&world.authority.key_pem()).expect("the root's key")
}

/// A leaf signed by the root itself, with what the authority would never write.
fn odd_leaf(world: &World, uris: &[&str], usages: &[Usage], ca: IsCa) -> Vec<CertificateDer<'static>> {
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII"))).collect();
    params.extended_key_usages = usages.to_vec();
    params.is_ca = ca;
    let root = chain(&world.authority.certificate_pem()).remove(0);
    let issuer = Issuer::from_ca_cert_der(&root, root_key(world)).expect("the root");
    let made = params.signed_by(&KeyPair::generate().expect("a key"), &issuer).expect("a certificate");
    vec![made.der().clone()]
}

#[test]
fn only_a_plain_leaf_with_one_identity_of_this_cluster_verifies() {
    let world = World::new("one");
    let both = [Usage::ClientAuth, Usage::ServerAuth];
    let verify =
        |uris: &[&str], usages: &[Usage], ca| world.trust().verify(&odd_leaf(&world, uris, usages, ca), NOW);
    verify(&["trimaran://one/agent/lab"], &both, IsCa::ExplicitNoCa).expect("as the authority writes it");
    let two = ["trimaran://one/agent/lab", "trimaran://one/agent/tokyo"];
    assert_eq!(verify(&two, &both, IsCa::NoCa), Err(CertificateError::NoIdentity));
    assert_eq!(verify(&[], &both, IsCa::NoCa), Err(CertificateError::NoIdentity));
    assert_eq!(verify(&["spiffe://one/agent/lab"], &both, IsCa::NoCa), Err(CertificateError::NoIdentity));
    let expected = CertificateError::Cluster { found: "two".into(), expected: "one".into() };
    assert_eq!(verify(&["trimaran://two/agent/lab"], &both, IsCa::NoCa), Err(expected));
    let lab = ["trimaran://one/agent/lab"];
    assert_eq!(verify(&lab, &[Usage::ServerAuth], IsCa::NoCa), Err(CertificateError::Usage));
    assert_eq!(verify(&lab, &[], IsCa::NoCa), Err(CertificateError::Usage));
    verify(&lab, &[Usage::ClientAuth], IsCa::NoCa).expect_err("no server");
    verify(&lab, &both, IsCa::Ca(BasicConstraints::Constrained(0))).expect_err("an issuer is no leaf");
}

#[test]
fn a_leaf_certifies_no_one() {
    let world = World::new("one");
    let IdentityFiles { cert, key, .. } = world.files(&agent("lab"));
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("trimaran://one/operator/eve/admin".try_into().unwrap())];
    params.extended_key_usages = vec![Usage::ClientAuth, Usage::ServerAuth];
    let mut forged = chain(&cert);
    let lab = Issuer::from_ca_cert_der(&forged[0], KeyPair::from_pem(&key).unwrap()).expect("a leaf");
    let made = params.signed_by(&KeyPair::generate().unwrap(), &lab).expect("a certificate");
    forged.insert(0, made.der().clone());
    world.trust().verify(&forged, NOW).expect_err("signed by a leaf");
}

#[test]
fn issuers_certify_only_below_their_depth() {
    let root = Authority::new_root("one", NOW).expect("a root");
    let trust = Trust::from_pem(&root.certificate_pem()).expect("the root");
    let (c1, c2, c3) = ("c1".parse().unwrap(), "c2".parse().unwrap(), "c3".parse().unwrap());
    let first = root.new_issuer(&c1, 1, NOW).expect("an issuer");
    let (key, csr) = make_key_and_csr("c2").expect("a key");
    let chain_pem = first.certify_issuer(&c2, &csr, NOW).expect("one level below");
    let second = TrimaranIssuer::from_pem(&key, &chain_pem, &root.certificate_pem()).expect("an issuer");
    assert_eq!((first.depth(), second.depth()), (1, 0));
    let (_, csr) = make_key_and_csr("lab").expect("a key");
    let leaf = Csr::parse(&csr).expect("a request");
    let issued = second.issue(&agent("lab"), &leaf, NOW, DAY).expect("a leaf");
    assert_eq!(issued.chain.len(), 3);
    assert_eq!(trust.verify(&chain(&issued.pem()), NOW), Ok(issued.info));
    let refused = second.certify_issuer(&c3, &csr, NOW).expect_err("depth 0");
    assert!(matches!(refused, AuthorityError::Depth { .. }), "{refused}");
    root.certify_issuer(&c1, &csr, ISSUER_DEPTH_MAX + 1, NOW).expect_err("deeper than any chain");

    // An issuer of depth 0 that signs another one without an issuer is not believed.
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(rcgen::DnType::CommonName, "rogue");
    let own = chain(&chain_pem);
    let rogue_key = KeyPair::generate().unwrap();
    let from_second = Issuer::from_ca_cert_der(&own[0], KeyPair::from_pem(&key).unwrap()).unwrap();
    let rogue = params.signed_by(&rogue_key, &from_second).expect("a certificate").der().clone();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("trimaran://one/agent/lab".try_into().unwrap())];
    params.extended_key_usages = vec![Usage::ClientAuth, Usage::ServerAuth];
    let from_rogue = Issuer::from_ca_cert_der(&rogue, rogue_key).unwrap();
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &from_rogue).unwrap().der().clone();
    let mut forged = vec![leaf, rogue];
    forged.extend(own);
    trust.verify(&forged, NOW).expect_err("deeper than allowed");
}

/// Each certified by the one before, as coordinators that replace each other are.
fn generations(count: usize) -> (Authority, Vec<TrimaranIssuer>) {
    let root = Authority::new_root("one", NOW).expect("a root");
    let mut issuers =
        vec![root.new_issuer(&"c1".parse().unwrap(), ISSUER_DEPTH_MAX, NOW).expect("an issuer")];
    while issuers.len() < count {
        let name = format!("c{}", issuers.len() + 1);
        let (key, csr) = make_key_and_csr(&name).expect("a key");
        let last = issuers.last().expect("there is one");
        let chain = last.certify_issuer(&name.parse().unwrap(), &csr, NOW).expect("one level below");
        issuers.push(TrimaranIssuer::from_pem(&key, &chain, &root.certificate_pem()).expect("an issuer"));
    }
    (root, issuers)
}

#[test]
fn a_chain_of_as_many_generations_as_there_may_be_verifies_whole_and_in_order_only() {
    let (root, issuers) = generations(usize::from(ISSUER_DEPTH_MAX) + 1);
    let trust = Trust::from_pem(&root.certificate_pem()).expect("the root");
    let (_, csr) = make_key_and_csr("lab").expect("a key");
    let leaf = Csr::parse(&csr).expect("a request");
    for issuer in &issuers {
        let issued = issuer.issue(&agent("lab"), &leaf, NOW, DAY).expect("a leaf");
        let with_root = issued.pem() + &root.certificate_pem();
        assert_eq!(trust.verify(&chain(&issued.pem()), NOW), Ok(issued.info.clone()));
        assert_eq!(trust.verify(&chain(&with_root), NOW), Ok(issued.info), "depth {}", issuer.depth());
    }
    let last = issuers.last().expect("there are some").issue(&agent("lab"), &leaf, NOW, DAY).expect("a leaf");
    let good = chain(&last.pem());
    let ago = WallTime(NOW.0 - 7_200_000);
    trust.verify(&good, ago).expect_err("before they were made");
    for at in 1..good.len() {
        let mut without = good.clone();
        without.remove(at);
        trust.verify(&without, NOW).expect_err("a generation is missing");
        if at > 1 {
            let mut swapped = good.clone();
            swapped.swap(at - 1, at);
            trust.verify(&swapped, NOW).expect_err("two generations in another order");
        }
        let mut changed = good.clone();
        let mut bytes = changed[at].to_vec();
        *bytes.last_mut().expect("not empty") ^= 1;
        changed[at] = bytes.into();
        trust.verify(&changed, NOW).expect_err("another signature");
    }
}

#[test]
fn an_innocent_issuer_between_a_leaf_and_its_own_is_noticed() {
    let (root, issuers) = generations(2);
    let trust = Trust::from_pem(&root.certificate_pem()).expect("the root");
    let (_, csr) = make_key_and_csr("lab").expect("a key");
    let leaf = Csr::parse(&csr).expect("a request");
    let by_first = issuers[0].issue(&agent("lab"), &leaf, NOW, DAY).expect("a leaf");
    let mut mixed = chain(&by_first.pem());
    mixed.insert(1, chain(&issuers[1].chain_pem()).remove(0));
    trust.verify(&mixed, NOW).expect_err("its issuer is another one");
}

#[test]
fn an_authority_and_an_issuer_read_back_what_they_write() {
    let world = World::new("one");
    let (root_pem, root_key) = (world.authority.certificate_pem(), world.authority.key_pem());
    let again = Authority::from_pem(&root_key, &root_pem).expect("the root");
    again.new_issuer(&"c2".parse().unwrap(), 0, NOW).expect("an issuer");
    let chain_pem = world.issuer.chain_pem();
    let issuer = TrimaranIssuer::from_pem(&world.issuer.key_pem(), &chain_pem, &root_pem).expect("read");
    assert_eq!(issuer.cluster(), "one");
    let other = TrimaranIssuer::from_pem(&root_key, &chain_pem, &root_pem).err();
    assert!(matches!(other, Some(AuthorityError::OtherKey)), "another key");
    TrimaranIssuer::from_pem(&root_key, &root_pem, &root_pem).err().expect("the root is no issuer");
    Authority::new_root("No Name", NOW).err().expect("a cluster id is a name");
}

#[test]
fn a_leaf_starts_early_ends_in_time_and_has_a_serial_of_its_own() {
    let world = World::new("one");
    let (_, csr) = make_key_and_csr("lab").expect("a key");
    let csr = Csr::parse(&csr).expect("a request");
    let issue = |now, ttl| world.issuer.issue(&agent("lab"), &csr, now, ttl).expect("a leaf").info;
    let (one, two) = (issue(NOW, DAY), issue(NOW, DAY));
    assert_ne!(one.serial, two.serial);
    assert_eq!(one.spki, two.spki);
    assert_eq!((one.not_before, one.not_after), (WallTime(NOW.0 - 600_000), NOW + DAY));
    let end = issue(NOW, trimaran_model::time::Millis(u64::MAX)).not_after;
    assert!(end <= NOW + trimaran_model::limits::ISSUER_TTL, "not longer than its issuer");
}

#[test]
fn no_changed_byte_of_a_chain_goes_unnoticed() {
    let world = World::new("one");
    let (trust, good) = (world.trust(), chain(&world.files(&agent("lab")).cert));
    trust.verify(&good, NOW).expect("unchanged");
    for (number, certificate) in good.iter().enumerate() {
        for at in 0..certificate.len() {
            let mut bytes = certificate.to_vec();
            bytes[at] ^= 1 << (at % 8);
            let mut changed = good.clone();
            changed[number] = bytes.into();
            assert!(trust.verify(&changed, NOW).is_err(), "byte {at} of certificate {number}");
        }
        let mut cut = good.clone();
        cut[number] = certificate[..certificate.len() / 2].to_vec().into();
        assert!(trust.verify(&cut, NOW).is_err());
    }
    let mut padded = good.clone();
    let limit = CHAIN_CERTIFICATES_MAX;
    padded.extend(std::iter::repeat_n(good[1].clone(), limit - 1));
    assert_eq!(trust.verify(&padded, NOW), Err(CertificateError::TooMany { count: limit + 1, limit }));
    assert_eq!(trust.verify(&[], NOW), Err(CertificateError::Missing));
}
