//! 1000 to 1999: pipeline files and their lint.

super::error_codes! { ENTRIES_SPEC;
    NOT_YAML 1001 BadInput "not valid YAML"
        "The file can't be read as YAML; what comes after the marked place was not looked at."
        "Mend the marked place; indentation and quotes are the usual causes.";
}
