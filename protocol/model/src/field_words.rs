//! The names of fields as words: what finds references to ConfigMaps and Secrets by their shape, in objects and in the
//! schemas of operators, reads them in the same way.

/// `clientCASecretRef`, `client-ca-secret-ref` and `CLIENT_CA_SECRET_REF` as `client`, `ca`, `secret`, `ref`.
pub fn words_of(key: &str) -> Vec<String> {
    let letters: Vec<char> = key.chars().collect();
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    for (at, letter) in letters.iter().enumerate() {
        if !letter.is_ascii_alphanumeric() {
            is_open = false;
            continue;
        }
        let lower_before = at > 0 && !letters[at - 1].is_ascii_uppercase();
        let lower_after = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && (lower_before || lower_after) {
            is_open = false;
        }
        match words.last_mut() {
            Some(word) if is_open => word.push(letter.to_ascii_lowercase()),
            _ => words.push(letter.to_ascii_lowercase().to_string()),
        }
        is_open = true;
    }
    // `configMap` is one word here.
    let mut joined: Vec<String> = Vec::new();
    for word in words {
        match joined.last_mut() {
            Some(last) if last == "config" && matches!(word.as_str(), "map" | "maps") => last.push_str(&word),
            _ => joined.push(word),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_split_into_words() {
        for key in ["clientCASecretRef", "client-ca-secret-ref", "CLIENT_CA_SECRET_REF", "ClientCaSecretRef"]
        {
            assert_eq!(words_of(key), ["client", "ca", "secret", "ref"], "{key}");
        }
        assert_eq!(words_of("configMapKeyRef"), ["configmap", "key", "ref"]);
        assert_eq!(words_of("TLSSecret"), ["tls", "secret"]);
    }
}
