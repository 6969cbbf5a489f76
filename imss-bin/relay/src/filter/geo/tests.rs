use super::*;

/// A MaxMind-format file (version 2.0) with one record per IPv4 /8 of `entries`.
///
/// The tree has 24-bit records over the 32 bits of IPv4; data is written with one-octet control
/// fields, which is enough for short strings and numbers.
pub(in crate::filter) fn database(entries: &[(u8, Vec<u8>)]) -> Vec<u8> {
    const NODES: u32 = 255;
    let mut data = Vec::new();
    let mut places = [None; 256];
    for (first, record) in entries {
        places[usize::from(*first)] = Some(u32::try_from(data.len()).unwrap());
        data.extend_from_slice(record);
    }
    let leaf = |octet: u32| match places[octet as usize] {
        None => NODES,
        Some(offset) => NODES + 16 + offset,
    };
    let mut tree = Vec::new();
    // A full binary tree of the first octet: node n has the children 2n+1 and 2n+2.
    for node in 0..NODES {
        for child in [2 * node + 1, 2 * node + 2] {
            let value = if child < NODES { child } else { leaf(child - NODES) };
            tree.extend_from_slice(&value.to_be_bytes()[1..]);
        }
    }
    let mut file = tree;
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let mut metadata = vec![0xe0 | 9];
    for (key, value) in [
        ("node_count", vec![0xc0 | 4, 0, 0, 0, 255]),
        ("record_size", vec![0xa0 | 2, 0, 24]),
        ("ip_version", vec![0xa0 | 2, 0, 4]),
        ("database_type", text("Test")),
        ("languages", vec![0x00, 0x04]),
        ("binary_format_major_version", vec![0xa0 | 2, 0, 2]),
        ("binary_format_minor_version", vec![0xa0 | 2, 0, 0]),
        ("build_epoch", vec![4, 2, 0, 0, 0, 1]),
        ("description", vec![0xe0]),
    ] {
        metadata.extend(text(key));
        metadata.extend(value);
    }
    file.extend(metadata);
    file
}

/// A string of at most 284 octets.
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    let mut octets = if length < 29 { vec![0x40 | length] } else { vec![0x40 | 29, length - 29] };
    octets.extend_from_slice(text.as_bytes());
    octets
}

pub(in crate::filter) fn country(code: &str) -> Vec<u8> {
    let mut record = vec![0xe0 | 1];
    record.extend(text("country"));
    record.push(0xe0 | 1);
    record.extend(text("iso_code"));
    record.extend(text(code));
    record
}

fn asn(number: u32) -> Vec<u8> {
    let mut record = vec![0xe0 | 1];
    record.extend(text("autonomous_system_number"));
    record.push(0xc0 | 4);
    record.extend_from_slice(&number.to_be_bytes());
    record
}

#[test]
fn countries_and_systems() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: Vec<u8>| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let countries = file("country.mmdb", database(&[(203, country("JP")), (198, country("XX"))]));
    let systems = file("asn.mmdb", database(&[(203, asn(64_496))]));
    let geo = Geo::open(Some(&countries), Some(&systems)).unwrap();
    let place = |ip: &str| geo.place(ip.parse().unwrap());
    assert_eq!(
        place("203.0.113.1"),
        Place { country: Some(*b"JP"), asn: Some(64_496), name: None }
    );
    assert_eq!(place("198.51.100.1"), Place { country: Some(*b"XX"), asn: None, name: None });
    assert_eq!(place("::ffff:198.51.100.1").country, Some(*b"XX"));
    assert_eq!(place("192.0.2.1"), Place::default());
    assert_eq!(place("2001:db8::1"), Place::default(), "not in a file for IPv4");

    let whole = std::fs::read(&countries).unwrap();
    for cut in (0..whole.len()).step_by(97) {
        let path = file("cut.mmdb", whole[..cut].to_vec());
        if let Ok(geo) = Geo::open(Some(&path), None) {
            let _ = geo.place("203.0.113.1".parse().unwrap());
        }
    }
    let garbage = file("garbage.mmdb", b"hello".to_vec());
    assert!(Geo::open(Some(&garbage), None).is_err());
}
