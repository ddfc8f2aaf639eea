package trimaran.demo;

import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * A stateful job for tests: numbers 0, 1, 2 … are counted by key. The source can be replayed, and its position is part of
 * each checkpoint, so that every record that is lost or repeated can be counted in the file of {@code --out}.
 */
public final class Counter {
  private Counter() {}

  public static void main(String[] arguments) throws Exception {
    Options options = Options.of(arguments);
    if (options.is("main-throws")) {
      throw new IllegalStateException("main-throws is set");
    }
    if (options.is("no-execute")) {
      return;
    }
    Thread.sleep(options.number("main-sleep-ms", 0));

    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.getExecutionEnvironment(new Configuration());
    environment.enableCheckpointing(options.number("checkpoint-ms", 1000));
    environment.getCheckpointConfig().setCheckpointTimeout(options.number("checkpoint-timeout-ms", 60_000));
    environment
        .getCheckpointConfig()
        .setTolerableCheckpointFailureNumber((int) options.number("tolerable-failures", 1000));

    GeneratorFunction<Long, Long> numbers = index -> index;
    DataGeneratorSource<Long> source =
        new DataGeneratorSource<>(
            numbers,
            options.number("records", Long.MAX_VALUE),
            RateLimiterStrategy.perSecond(options.number("rate", 50)),
            Types.LONG);
    environment
        .fromSource(source, WatermarkStrategy.noWatermarks(), "numbers")
        .uid("numbers")
        .setParallelism(1)
        .keyBy(new Remainder(options.number("keys", 5)))
        .process(new CountByKey(options))
        .name("counter")
        .uid(options.text("counter-uid", "counter"))
        .sinkTo(new DiscardingSink<>())
        .name("out")
        .uid("out");
    environment.execute(options.text("job-name", "demo"));
  }

  /** The key of a number. */
  private static final class Remainder implements KeySelector<Long, Integer> {
    private static final long serialVersionUID = 1L;
    private final long divisor;

    Remainder(long divisor) {
      this.divisor = divisor;
    }

    @Override
    public Integer getKey(Long number) {
      return (int) (number % divisor);
    }
  }
}
