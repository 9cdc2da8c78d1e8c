/** Frames per second and latency of the last frames. */

const KEPT = 300; // frames

export class Timing {
  private ends: number[] = []; // when poses were there, milliseconds
  private latencies: number[] = [];

  add(end: number, latency: number): void {
    this.ends.push(end);
    this.latencies.push(latency);
    if (this.ends.length > KEPT) {
      this.ends.shift();
      this.latencies.shift();
    }
  }

  /** Over the last second. */
  get fps(): number {
    const newest = this.ends.at(-1) ?? 0;
    const recent = this.ends.filter((end) => end > newest - 1000);
    const span = newest - recent[0];
    return span > 0 ? (1000 * (recent.length - 1)) / span : 0;
  }

  /** Milliseconds: of one frame, or of several. */
  get text(): string {
    const [median, late] = [this.quantile(0.5).toFixed(0), this.quantile(0.99).toFixed(0)];
    return this.latencies.length > 1 ? `${median}, 99 %: ${late}` : median;
  }

  /** Milliseconds that this share of the latencies doesn't exceed. */
  quantile(share: number): number {
    const sorted = [...this.latencies].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  }
}
