package trimaran.demo;

import java.io.IOException;
import java.io.InputStream;
import java.io.Serializable;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;

/** Options of the demo job: `job.properties` of the jar, over them the arguments `--KEY=VALUE`. */
final class Options implements Serializable {
  private static final long serialVersionUID = 1L;
  private final HashMap<String, String> values = new HashMap<>();

  static Options of(String[] arguments) throws IOException {
    Options options = new Options();
    Properties defaults = new Properties();
    try (InputStream file = Options.class.getResourceAsStream("/job.properties")) {
      if (file != null) {
        defaults.load(file);
      }
    }
    for (String key : defaults.stringPropertyNames()) {
      options.values.put(key, defaults.getProperty(key));
    }
    for (String argument : arguments) {
      int equals = argument.indexOf('=');
      if (!argument.startsWith("--") || equals < 0) {
        throw new IllegalArgumentException("not --KEY=VALUE: " + argument);
      }
      options.values.put(argument.substring(2, equals), argument.substring(equals + 1));
    }
    return options;
  }

  String text(String key, String otherwise) {
    return values.getOrDefault(key, otherwise);
  }

  long number(String key, long otherwise) {
    return Long.parseLong(values.getOrDefault(key, Long.toString(otherwise)));
  }

  boolean is(String key) {
    return "true".equals(values.get(key));
  }

  @Override
  public String toString() {
    return Map.copyOf(values).toString();
  }
}
