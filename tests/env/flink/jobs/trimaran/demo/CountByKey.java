package trimaran.demo;

import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import java.util.Random;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/**
 * Counts each key in keyed state and appends a line {@code NUMBER KEY COUNT VERSION ATTEMPT} to the file of
 * {@code --out}: an effect that is repeated when records are replayed. Options make it fail in the ways that tests need.
 * {@code --cached-file} names a file of Flink's distributed cache, whose text then stands behind the version in each line.
 */
final class CountByKey extends KeyedProcessFunction<Integer, Long, Long> implements CheckpointedFunction {
  private static final long serialVersionUID = 1L;
  private final Options options;
  private String version;
  private final long failAfter;
  private final long failAt;
  private final long failEach;
  private final long sleepMs;
  private final int ballast;
  private transient ValueState<Long> count;
  /** The same state with another serializer: what was written as {@code count} can't be read. */
  private transient ValueState<String> countAsText;
  private transient ValueState<Long> last;
  private transient ValueState<byte[]> blob;
  private transient OutputStream out;
  private transient long seen;

  CountByKey(Options options) {
    this.options = options;
    version = options.text("version", "dev");
    failAfter = options.number("fail-after", Long.MAX_VALUE);
    failAt = options.number("fail-at", -1);
    failEach = options.number("fail-each", Long.MAX_VALUE);
    sleepMs = options.number("sleep-ms", 0);
    ballast = (int) options.number("ballast-bytes", 0);
  }

  @Override
  public void open(OpenContext context) throws Exception {
    if (options.text("state-type", "long").equals("string")) {
      countAsText = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.STRING));
    } else {
      count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
    }
    if (options.is("extra-state")) {
      last = getRuntimeContext().getState(new ValueStateDescriptor<>("last", Types.LONG));
    }
    if (ballast > 0) {
      blob = getRuntimeContext().getState(new ValueStateDescriptor<>("blob", byte[].class));
    }
    String cached = options.text("cached-file", "");
    if (!cached.isEmpty()) {
      Path path = getRuntimeContext().getDistributedCache().getFile(cached).toPath();
      version = options.text("version", "dev") + "+" + Files.readString(path).strip();
    }
    String file = options.text("out", "");
    if (!file.isEmpty()) {
      out = Files.newOutputStream(Paths.get(file), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }
    if (options.is("open-throws")) {
      throw new IllegalStateException("open-throws is set");
    }
  }

  @Override
  public void processElement(Long number, Context context, Collector<Long> results) throws Exception {
    seen++;
    if (seen > failAfter) {
      throw new IllegalStateException("fail-after: " + failAfter + " records of " + version);
    }
    if (number == failAt || (number > 0 && number % failEach == 0)) {
      throw new IllegalStateException("fail-at: record " + number + " of " + version);
    }
    if (sleepMs > 0) {
      Thread.sleep(sleepMs);
    }
    long total = next();
    if (last != null) {
      last.update(number);
    }
    if (blob != null && total % 10 == 1) {
      byte[] bytes = new byte[ballast];
      new Random(number).nextBytes(bytes);
      blob.update(bytes);
    }
    if (out != null) {
      int attempt = getRuntimeContext().getTaskInfo().getAttemptNumber();
      String line = number + " " + context.getCurrentKey() + " " + total + " " + version + " " + attempt + "\n";
      out.write(line.getBytes(StandardCharsets.US_ASCII));
    }
    results.collect(total);
  }

  private long next() throws Exception {
    if (countAsText != null) {
      String before = countAsText.value();
      long total = (before == null ? 0 : Long.parseLong(before)) + 1;
      countAsText.update(Long.toString(total));
      return total;
    }
    Long before = count.value();
    long total = (before == null ? 0 : before) + 1;
    count.update(total);
    return total;
  }

  @Override
  public void snapshotState(FunctionSnapshotContext context) throws Exception {
    if (options.is("fail-checkpoints")) {
      throw new IllegalStateException("fail-checkpoints is set for " + version);
    }
    Thread.sleep(options.number("checkpoint-sleep-ms", 0));
  }

  @Override
  public void initializeState(FunctionInitializationContext context) {}

  @Override
  public void close() throws Exception {
    if (out != null) {
      out.close();
    }
  }
}
