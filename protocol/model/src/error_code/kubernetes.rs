//! 5000 to 5999: manifests, their lint, rendering and judging without a server.

super::error_codes! { ENTRIES_KUBERNETES;
    UNREADABLE 5001 BadInput "the file can't be read"
        "The file is missing, too large, or neither YAML nor JSON."
        "The message has the file, the place and the parser's words.";
    OBJECT_TWICE 5012 BadInput "two objects of one name"
        "An API server holds one object of a kind, namespace and name; the later one would overwrite the other."
        "Remove or rename one of the two.";
    CONFIG_UNREFERENCED 5034 BadInput "nothing refers to the configuration"
        "A ConfigMap or Secret is renamed by its content, but no object of the set is known to use it."
        "Remove it, or let it keep its name with the annotation `trimaran.dev/versioned: \"false\"`.";
    CONFIG_NOT_VERSIONED 5035 BadInput "configuration that keeps its name"
        "A controller finds or writes this object by its name, so it is not versioned."
        "Set the annotation `trimaran.dev/versioned: \"false\"` to say that this is meant.";
    CONFIG_OTHER_NAMESPACE 5036 BadInput "reference whose namespace is not known"
        "Only references within one namespace are rewritten, and one of the two objects does not say which it is in."
        "Give `--namespace`, or write the namespace in both objects.";
}
